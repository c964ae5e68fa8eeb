"""`slipway setup`: the Pulumi engine, found, installed or built."""

from __future__ import annotations

from pathlib import Path

import click

from slipway.console import Console


@click.command()
@click.pass_obj
def command(root: Path) -> None:
    """Get the Pulumi engine: what is on PATH, else the official installer, else a build from pinned Go modules."""
    from slipway.local import ensure_engine

    ensure_engine(Console())
