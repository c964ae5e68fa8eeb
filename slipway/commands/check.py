"""`slipway check`: validates specs without building anything, in a fraction of a second."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from model_build.loading import Problem, load_all
from slipway import retired_images


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@click.pass_obj
def command(root: Path, names: tuple[str, ...]) -> None:
    """Validate the specs of the named models, or all in specs/.

    Prints every problem with its file, line and key. Imports and runs nothing of the project: that factories work and
    weights fit is what `slipway build` finds out.

    \b
      slipway check
      slipway check fashion
      slipway check specs/fashion.yaml
    """
    specs, problems = load_all(names, root)
    problems += retired_images.problems(specs, root, datetime.datetime.now(datetime.UTC).date())
    for problem in problems:
        click.echo(_coloured(problem), err=True)
    if problems:
        files = len({problem.path for problem in problems})
        click.echo(f"✗ {_count(len(problems), 'problem')} in {_count(files, 'spec')}", err=True)
        raise SystemExit(1)
    click.echo(f"✓ {_count(len(specs), 'spec')}: {', '.join(spec.name for spec in specs.values())}")


def _coloured(problem: Problem) -> str:
    place = click.style(f"{problem.path}:{problem.line}:", bold=True)
    key = click.style(f"{problem.key}: ", fg="cyan") if problem.key else ""
    return f"{place} {key}{problem.message}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
