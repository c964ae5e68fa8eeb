"""`slipway loadtest`: what one instance of a live endpoint bears, as evidence for `autoscaling.target: auto`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from slipway.loadtest import Level


@click.command()
@click.argument("name")
@click.option("--env", "environment", default="local", show_default=True, help="Environment (stack) of the endpoint.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=10.0, show_default=True, help="Of each level.")
@click.option("--max-clients", type=click.IntRange(1, 4096), default=256, show_default=True, help="The last level.")
@click.option("--max-p95", type=click.FloatRange(min=0, min_open=True), help="Milliseconds that p95 must not exceed.")
@click.option("--dry-run", is_flag=True, help="Measure, but write no evidence.")
@click.pass_obj
def command(
    root: Path, name: str, environment: str, seconds: float, max_clients: int, max_p95: float | None, dry_run: bool
) -> None:
    """Load the endpoint of model NAME with its sample until more clients bring no more answers.

    Writes specs/capacity/NAME.json: requests per second of one instance at that knee, latency there, instance type,
    digest of the artifact and date. `deploy.autoscaling.target: auto` takes its value from it; commit the file.

    The endpoint answers nobody else well while this runs: load a stack without users.

    \b
      slipway loadtest fashion
      slipway loadtest fashion --env staging --max-p95 50
    """
    from model_build.capacity import path_of
    from model_build.errors import UserError
    from slipway import environments, loadtest
    from slipway.commands.invoke import own_sample

    body, kind = own_sample(root, name)
    endpoint = f"{name}-{environment}"
    control = environments.client(root, environment, "sagemaker")
    loaded = loadtest.target(control, endpoint)
    click.echo(f"{endpoint}: {loaded.count} × {loaded.instance}, artifact {loaded.artifact[:12]}", err=True)
    click.echo("clients  requests/s   p50 ms   p95 ms  failed", err=True)
    levels = loadtest.climb(
        loadtest.signer(environments.client(root, environment, "sagemaker-runtime"), endpoint, body, kind),
        seconds=seconds,
        max_clients=max_clients,
        max_p95_ms=max_p95,
        progress=_show,
    )
    if loadtest.target(control, endpoint) != loaded:
        raise UserError(
            f"{endpoint} was scaled or updated while it was loaded, so the figures are of no one instance",
            "hold its count: instances {min: 1, max: 1} in that environment, and load it again",
        )
    best = loadtest.knee(levels, max_p95)
    found = loadtest.capacity(loaded, best, name, environment)
    click.echo(
        f"{name}: {found.max_rps:g} requests/s of one {found.instance} at {best.clients} clients, "
        f"p95 {found.latency_p95_ms:g} ms"
    )
    if best.busy > loadtest.BUSY:
        click.echo(
            f"this client used {best.busy:.0%} of its core: the instance may bear more; run it on a larger machine",
            err=True,
        )
    if not dry_run:
        path = path_of(name, root)
        path.parent.mkdir(exist_ok=True)
        path.write_text(found.to_json(), encoding="utf-8")
        click.echo(path.relative_to(root))


def _show(level: Level) -> None:
    click.echo(
        f"{level.clients:7d}  {level.rps:10.1f}  {level.p50_ms:7.2f}  {level.p95_ms:7.2f}  {level.errors:6.2%}"
        + (f"  {level.failure}" if level.failure else ""),
        err=True,
    )
