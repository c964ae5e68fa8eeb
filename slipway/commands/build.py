"""`slipway build`: specs → measured, gated, packaged artifacts in build/NAME/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slipway.console import Console

if TYPE_CHECKING:
    from model_build.build import Outcome


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@click.pass_obj
def command(root: Path, names: tuple[str, ...]) -> None:
    """Build the named models, or all in specs/: run the candidates, measure them, apply the gates, package the best.

    What is built already is not built again. A missed gate exits 1 and leaves the last good artifact in place.

    \b
      slipway build
      slipway build fashion
      cat build/fashion/report.md
    """
    for outcome in build_models(root, names, Console()):
        click.echo(_gain(outcome, root))


def build_models(root: Path, names: Sequence[str], console: Console) -> list[Outcome]:
    """Builds models one after the other. Raises UserError for what is wrong with specs, gates or the project's code."""
    from model_build.build import build_all

    return build_all(names, root, console)


def _gain(outcome: Outcome, root: Path) -> str:
    """One line: what was chosen, and what it does to the source model's measurements."""
    manifest = outcome.manifest
    before, after = manifest.source, manifest.chosen
    score = "" if before.score is None or after.score is None else f" {before.score:.4f} → {after.score:.4f}"
    return (
        f"{manifest.name}: {manifest.candidate} · {after.metric}{score or ' not measured'}"
        f" · p95 {before.latency_p95_ms:.2f} → {after.latency_p95_ms:.2f} ms"
        f" · {before.size_mb:.1f} → {after.size_mb:.1f} MB · {outcome.directory.relative_to(root)}/report.md"
    )
