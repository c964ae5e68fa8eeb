"""`slipway rehearse`: a rollout under traffic, on a copy of the local environment with a clock that runs faster."""

from __future__ import annotations

import json
from pathlib import Path

import click

from model_build.errors import UserError
from slipway.console import Console


@click.command()
@click.argument("name", required=False)
@click.option(
    "--traffic",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The profile to replay; the built-in one, which --example prints, if not given.",
)
@click.option("--speed", type=click.FloatRange(1, 1000), metavar="N", help="In place of the profile's speed.")
@click.option(
    "--bad",
    "fault",
    type=click.Choice(["errors", "slow", "crash"]),
    is_flag=False,
    flag_value="errors",
    help="Roll a bad version out: it answers every request with 500 (errors, if you say only --bad), takes 2 s for it, "
    "or dies.",
)
@click.option(
    "--sample",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What to send; the model's own sample, if not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, with every figure.")
@click.option("--example", is_flag=True, help="Print the built-in profile, with comments, and do nothing else.")
@click.pass_obj
@click.pass_context
def command(
    context: click.Context,
    root: Path,
    name: str | None,
    traffic: Path | None,
    speed: float | None,
    fault: str | None,
    sample: Path | None,
    as_json: bool,
    example: bool,
) -> None:
    """Roll a new version of model NAME out under traffic, before anyone pays for it.

    The endpoint that `slipway up` made is copied with its deployment policy, alarms and scaling policies, into a local
    AWS of its own whose clock runs fast. Requests come as the profile says, whatever the answers do, and meanwhile a
    new version is rolled out: one as good as what runs or, with --bad, one that must be rolled back.

    You get errors and latencies before, during and after the rollout, what scaling did and when, replica-seconds
    beside the fewest that could have held the traffic, and whether the version stayed. Exits 1 where a gate of the
    profile is missed, so that it can stand in CI.

    \b
      slipway rehearse news-topics                      the built-in profile, a good version
      slipway rehearse news-topics --bad                would a version that fails be rolled back?
      slipway rehearse --example > office-day.yaml      a profile of your own to begin with:
      slipway rehearse news-topics --traffic office-day.yaml --speed 120

    \b
    A profile is phases, a rollout and gates:
      phases:
        - {kind: steady, duration: 5m, rate: 20}
        - {kind: step, duration: 20m, rate: 20, to: 80, at: 2m}
        - {kind: spike, duration: 10m, rate: 60%, to: 250%, at: 3m, width: 2m}
        - {kind: daily, duration: 24h, rate: 10%, to: 150%, at: 14h}
      rollout_at: 4m
      gates: {max_error_percent: 0, p95_ms: 50, must_roll_back: true}
    """
    from slipway.local import Local
    from slipway.rehearse import Plan, rehearse
    from slipway.rehearse_profile import EXAMPLE, default, load
    from slipway.rehearse_report import as_json as told
    from slipway.rehearse_report import judge, print_tables

    if example:
        click.echo(EXAMPLE, nl=False)
        return
    if name is None:
        raise UserError("rehearse what?", next_step="give the name of a model, for instance: slipway rehearse fashion")
    profile = load(traffic) if traffic else default()
    body, kind = _sample(root, name, sample)
    plan = Plan(f"{name}-local", profile, speed or profile.speed, body, kind, fault)  # type: ignore[arg-type]
    rehearsal = rehearse(Local(root), plan, Console())
    if as_json:
        click.echo(json.dumps(told(rehearsal), indent=2, ensure_ascii=False))
    else:
        print_tables(rehearsal)
    if not all(judged.passed for judged in judge(rehearsal)):
        context.exit(1)


def _sample(root: Path, name: str, file: Path | None) -> tuple[bytes, str]:
    from slipway.commands.invoke import own_sample
    from slipway.invoke import content_type

    if file is not None:
        return file.read_bytes(), content_type(file)
    if not (root / "build" / name / "manifest.json").is_file():
        raise UserError(f"{name} is not built", next_step=f"run: slipway build {name} (or slipway up)")
    return own_sample(root, name)
