"""`slipway up`: the whole path, from specs to a prediction out of every endpoint, on this machine.

    engine → build → local AWS → provider plugin → pulumi up → one prediction each

Every stage does nothing where its work is done already, so a second run is quick and a killed one can be run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipway.console import Console

if TYPE_CHECKING:
    from model_build.manifest import Manifest


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the local AWS; 4566, or a free one, if not given.")
@click.pass_obj
def command(root: Path, port: int | None) -> None:
    """Build every model, start the local AWS, run `pulumi up -s local`, and ask each endpoint for a prediction."""
    from slipway.commands.build import build_models
    from slipway.local import Local, Stack, client, ensure_engine, install_provider

    console = Console()
    local = Local(root)
    engine = ensure_engine(console)
    build_models(root, (), console)
    server = local.start(port, console)
    stack = Stack(local, engine.pulumi, local.process_environment(engine, server.endpoint))
    install_provider(stack, console)
    with console.step("pulumi up -s local"):
        stack.select()
        for line in stack.recover(client("sagemaker", server.endpoint)):
            console.note(line)
        # --refresh: the local AWS may have been started fresh, and the state must notice. A refresh asks the
        # address in the state; --run-program takes the program's, at the price of running it twice.
        moved = () if stack.recorded_on(server.endpoint) else ("--run-program",)
        options = ("--yes", "--skip-preview", "--suppress-outputs", "--stack", "local", "--refresh", *moved)
        stack.show("up", *options, console=console)
    endpoints = stack.outputs()["endpoints"]
    with console.step("one prediction from each endpoint"):
        rows = [_try_out(root, name, endpoint, server.endpoint) for name, endpoint in sorted(endpoints.items())]
    _print_tables(rows)
    first = rows[0].manifest.name if rows else "NAME"
    click.echo(f"\nAsk an endpoint:      .venv/bin/slipway invoke {first}")
    click.echo(f"See what is running:  {server.endpoint}/_slipway/")
    click.echo('Use plain pulumi:     eval "$(.venv/bin/slipway env)" && pulumi preview -s local')
    click.echo("Stop everything:      make down")


@dataclass(frozen=True)
class Row:
    endpoint: str
    manifest: Manifest
    asked: str
    answer: str


def _try_out(root: Path, name: str, endpoint: str, cloud: str) -> Row:
    from model_build.manifest import read_manifest
    from slipway.invoke import answered, predict, sample, shown
    from slipway.local import client

    directory = root / "build" / name
    manifest = read_manifest(directory / "manifest.json")
    found = sample(manifest, directory)
    if found is None or manifest.sample is None:
        return Row(endpoint, manifest, "(the spec names no sample)", "")
    body, kind = found
    answer: Any = predict(client("sagemaker-runtime", cloud), endpoint, body, kind)
    return Row(endpoint, manifest, shown(body, kind, manifest.sample.file), answered(answer))


def _print_tables(rows: list[Row]) -> None:
    import shutil
    import sys

    from rich import box
    from rich.console import Console as RichConsole
    from rich.table import Table

    # Where the output is not a terminal there is no width to fit in, and 80 columns would cut the words.
    terminal = sys.stdout.isatty()
    console = RichConsole(width=shutil.get_terminal_size().columns if terminal else 120, highlight=False)
    gained = Table(title="What the build gained: source model → deployed model", box=box.SIMPLE, title_justify="left")
    for heading in ("endpoint", "score", "p95 ms", "size MB"):
        gained.add_column(heading, no_wrap=True)
    gained.add_column("model")
    answered = Table(title="What the endpoints answered", box=box.SIMPLE, title_justify="left")
    answered.add_column("endpoint", no_wrap=True)
    answered.add_column("sample input")
    answered.add_column("prediction", no_wrap=True)
    for row in rows:
        before, after = row.manifest.source, row.manifest.chosen
        metric = after.metric.replace("_", " ")
        gained.add_row(
            row.endpoint,
            "" if before.score is None or after.score is None else f"{before.score:.4f} → {after.score:.4f} {metric}",
            f"{before.latency_p95_ms:.2f} → {after.latency_p95_ms:.2f}",
            f"{before.size_mb:.1f} → {after.size_mb:.1f}",
            row.manifest.candidate,
        )
        answered.add_row(row.endpoint, row.asked, row.answer)
    console.print(gained)
    console.print(answered)
