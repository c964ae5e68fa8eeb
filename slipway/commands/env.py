"""`slipway env`: the variables with which plain pulumi and AWS clients work on the local environment."""

from __future__ import annotations

from pathlib import Path

import click

from slipway.console import Console


@click.command()
@click.pass_obj
def command(root: Path) -> None:
    """Print shell lines that set the local environment.

    \b
      eval "$(.venv/bin/slipway env)"
      pulumi preview -s local
      aws sagemaker list-endpoints
    """
    from slipway.local import Local, ensure_engine, export_lines

    local = Local(root)
    server = local.server()
    if server is None:
        click.echo(
            "slipway: the local AWS is not running, so AWS_ENDPOINT_URL is not set; run: slipway local start", err=True
        )
    click.echo(
        export_lines(local.variables(ensure_engine(Console(), announce=False), server.endpoint if server else None))
    )
