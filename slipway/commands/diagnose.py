"""`slipway diagnose`: accuracy fell, latency rose, memory rose? Measures what runs against what was built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipway.console import Console

if TYPE_CHECKING:
    from model_build.diagnosis import Diagnosis
    from model_build.manifest import GateResult
    from model_build.spec import Spec
    from slipway.live import Live


@click.command()
@click.argument("name")
@click.option("--env", "environment", default="local", show_default=True, help="Environment (stack) of the endpoint.")
@click.option("--samples", type=click.IntRange(min=30), help="Send at most so many, evenly from all; all if not given.")
@click.option("--no-endpoint", is_flag=True, help="Measure the artifact alone.")
@click.pass_obj
@click.pass_context
def command(
    context: click.Context, root: Path, name: str, environment: str, samples: int | None, no_endpoint: bool
) -> None:
    """Measure the endpoint and the artifact of model NAME against its report: which gate is missed, what would hold?

    Sends the evaluation samples to the live endpoint, one at a time, and measures the artifact here beside the source
    and the other candidates. Exits 1 where a gate is missed, the endpoint runs another artifact, or files changed.

    \b
      slipway diagnose fashion
      slipway diagnose fashion --env prod --samples 500
    """
    from model_build import loading
    from model_build.diagnosis import diagnose
    from slipway.live import check

    console = Console()
    (path,) = loading.find([name], root)
    spec = loading.load(path, root)
    live = None
    if not no_endpoint:
        with console.step(f"ask {name}-{environment}"):
            live = _ask(root, spec, environment, samples)
    with console.step("measure the artifact here"):
        found = diagnose(spec, root, path, console)
    click.echo(_figures(found, live))
    missed = _judge(found, found.results["the artifact"], "the artifact here")
    if live:
        missed += _judge(found, check(live, spec.gates, found.evidence["source"].measurement.score), "the endpoint")
    trouble = [*found.problems, *_of_endpoint(found, live, environment)]
    for line in trouble:
        click.echo(f"! {line}")
    if missed:
        click.echo(_remedy(found, spec))
    elif not trouble:
        click.echo(f"{name} holds its gates.")
    if missed or trouble:
        context.exit(1)


def _ask(root: Path, spec: Spec, environment: str, limit: int | None) -> Live:
    from model_build.datasets import called
    from model_build.errors import UserError
    from slipway import environments
    from slipway.live import measure

    if spec.data.evaluation is None:
        raise UserError(
            f"{spec.name} has no data.evaluation to ask with", "give --no-endpoint, or the data in the spec"
        )
    samples, labels = called(spec.data.evaluation, "data.evaluation", spec, root)
    count = min(limit or len(samples), len(samples))
    chosen = [number * len(samples) // count for number in range(count)]
    runtime, control = (
        environments.client(root, environment, service) for service in ("sagemaker-runtime", "sagemaker")
    )
    endpoint = f"{spec.name}-{environment}"
    return measure(
        runtime,
        control,
        endpoint,
        [samples[one] for one in chosen],
        [labels[one] for one in chosen],
        spec,
        whole=count == len(samples),
    )


def _figures(found: Diagnosis, live: Live | None) -> str:
    """What the report says, what the artifact does here now, and what a client of the endpoint sees."""
    from statistics import median

    told = found.manifest.chosen
    here = found.evidence["the artifact"].measurement
    rows: list[tuple[str, ...]] = [("", "report", "artifact, here", "endpoint, one client")]
    score = f"{live.score:.4f} of {live.samples:,}" if live else ""
    times = [f"{median(one[at] for one in live.rounds):.3f}" if live else "" for at in (0, 1)]
    rows += [
        (told.metric.replace("_", " "), *(_share(one.score) for one in (told, here)), score),
        ("p50, ms", f"{told.latency_p50_ms:.3f}", f"{here.latency_p50_ms:.3f}", times[0]),
        ("p95, ms", f"{told.latency_p95_ms:.3f}", f"{here.latency_p95_ms:.3f}", times[1]),
        ("peak memory, MiB", f"{told.memory_peak_mb:.0f}", f"{here.memory_peak_mb:.0f}", ""),
        ("size, MB", f"{told.size_mb:.2f}", f"{here.size_mb:.2f}", ""),
    ]
    return _aligned(rows if live else [row[:3] for row in rows])


def _share(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}"


def _judge(found: Diagnosis, results: Iterable[GateResult], what: str) -> int:
    """Prints the gates of one of the two, and counts the missed ones."""
    from model_build.report import gate_cells

    results = list(results)
    if results:
        click.echo(f"\n{what[0].upper()}{what[1:]}:")
        click.echo(_aligned([gate_cells(result) for result in results]))
    return sum(not result.passed for result in results)


def _of_endpoint(found: Diagnosis, live: Live | None, environment: str) -> list[str]:
    if live is None:
        return []
    lines = []
    name, built = found.manifest.name, found.manifest.artifact.sha256
    if live.digest and live.digest != built:
        lines.append(
            f"{name}-{environment} runs the artifact {live.digest[:12]}, and build/{name} holds {built[:12]}: "
            "deploy again to compare the same"
        )
    if live.failed:
        lines.append(f"{live.failed} of {live.samples} requests failed, first: {live.first_failure}")
    return lines


def _remedy(found: Diagnosis, spec: Spec) -> str:
    lines = []
    here, told = found.report["environment"]["cpu"], _cpu()
    if here != told:
        lines.append(f"The report was measured on {here}; this is {told}.")
    better = found.holding(spec.optimize.choose)
    if better:
        measured = found.evidence[better].measurement
        lines.append(
            f"Would hold, measured here just now: {better} (score {_share(measured.score)}, "
            f"p50 {measured.latency_p50_ms:.3f} ms, {measured.size_mb:.2f} MB). To deploy it: slipway build, slipway up"
        )
    else:
        lines.append("No other candidate of the report holds every gate here: add one, or change the gates.")
    lines += [f"Not measured, as it is no longer in the cache: {label}" for label in found.missing]
    return "\n" + "\n".join(lines)


def _cpu() -> str:
    from model_build import targets

    return targets.cpu_model()


def _aligned(rows: Sequence[Sequence[Any]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
