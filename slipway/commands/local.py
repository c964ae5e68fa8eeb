"""`slipway local`: the AWS on this machine, started, stopped and looked at."""

from __future__ import annotations

from pathlib import Path

import click

from slipway.console import Console


@click.group()
def command() -> None:
    """The AWS on this machine that the `local` environment deploys to."""


@command.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port; 4566, or a free one where that is taken, if not given."
)
@click.option(
    "--speed",
    type=click.FloatRange(1, 1000),
    metavar="N",
    help="Metrics, alarms, rollouts and scaling run on a clock N times as fast; requests stay real time.",
)
@click.option(
    "--persist/--fresh",
    default=True,
    help="Whether it is as it was when it ended, which it is unless you say --fresh: then all of that is forgotten.",
)
@click.pass_obj
def start(root: Path, port: int | None, speed: float | None, persist: bool) -> None:
    """Start it in the background, if it does not run yet: as it was when it ended, endpoints included."""
    from slipway.local import Local

    server = Local(root).start(port, Console(), speed, fresh=not persist)
    click.echo(f"{server.endpoint}  (process {server.pid}; status page {server.endpoint}/_slipway/)")


@command.command()
@click.pass_obj
def stop(root: Path) -> None:
    """Stop it, with every replica it runs. The next start brings back what it held."""
    from slipway.local import Local

    click.echo("stopped" if Local(root).stop() else "it was not running")


@command.command()
@click.pass_obj
def status(root: Path) -> None:
    """Say whether it runs, and what its endpoints do. Exits 1 where it does not run."""
    from slipway.local import Local, client

    server = Local(root).server()
    if server is None:
        click.echo("not running; start it with: slipway local start")
        raise SystemExit(1)
    click.echo(f"{server.endpoint}  (process {server.pid})")
    sagemaker = client("sagemaker", server.endpoint)
    for page in sagemaker.get_paginator("list_endpoints").paginate():
        for endpoint in page["Endpoints"]:
            click.echo(f"  {endpoint['EndpointName']}  {endpoint['EndpointStatus']}")


@command.command()
@click.option(
    "--lines", "-n", default=50, show_default=True, type=click.IntRange(1), help="How many of the last lines."
)
@click.pass_obj
def logs(root: Path, lines: int) -> None:
    """Print the end of its log."""
    from slipway.local import Local

    log = Local(root).cloud / "server.log"
    if not log.is_file():
        click.echo("there is no log yet; start it with: slipway local start")
        return
    click.echo("\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
