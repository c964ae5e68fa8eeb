"""`slipway build`: specs → measured, gated, packaged artifacts in build/NAME/."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model_build.errors import UserError
from slipway import outcomes
from slipway.console import Console

if TYPE_CHECKING:
    from model_build.build import Outcome


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 256),
    help="Processes at once; as many as cores, if not given, for several models.",
)
@click.option(
    "--cache",
    metavar="URL",
    envvar="SLIPWAY_BUILD_CACHE",
    help="Shared cache: s3://BUCKET/PREFIX, oss://BUCKET/PREFIX or file:///FOLDER (docs/stores.md).",
)
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Dask cluster that makes the nodes.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, for programs.")
@click.pass_obj
def command(
    root: Path, names: tuple[str, ...], jobs: int | None, cache: str | None, scheduler: str | None, as_json: bool
) -> None:
    """Build the named models, or all in specs/: run the candidates, measure them, apply the gates, package the best.

    What is built already is not built again. A missed gate exits 1 and leaves the last good artifact in place.

    \b
      slipway build
      slipway build fashion
      slipway build -j 4 --cache s3://my-bucket/slipway
      cat build/fashion/report.md
    """
    from model_build.build import together

    try:
        built, failures = attempt(root, names, Console(), jobs, cache, scheduler)
    except UserError as error:
        if as_json:
            click.echo(outcomes.as_json([], [str(error)]))
        raise
    told = [{**outcome.summary(), "built": outcome.built, "seconds": round(outcome.seconds, 3)} for outcome in built]
    if as_json:
        click.echo(outcomes.as_json(told, [str(error) for error in failures]))
    elif told:
        click.echo("\n".join(map(outcomes.line, told)))
    if failures:
        raise together(failures)


def build_models(root: Path, names: Sequence[str], console: Console) -> list[Outcome]:
    """Builds models. Raises UserError for what is wrong with specs, gates or the project's code."""
    from model_build.build import together

    built, failures = attempt(root, names, console)
    if failures:
        raise together(failures)
    return built


def attempt(
    root: Path,
    names: Sequence[str],
    console: Console,
    jobs: int | None = None,
    cache: str | None = None,
    scheduler: str | None = None,
) -> tuple[list[Outcome], list[UserError]]:
    """What `build.attempt_all` gives, with the options as the command line has them. Raises UserError."""
    from model_build.build import attempt_all

    store = None
    if cache := cache or os.environ.get("SLIPWAY_BUILD_CACHE"):
        from slipway import stores

        store = stores.opened(cache)
    return attempt_all(names, root, console, jobs=jobs, store=store, scheduler=scheduler)
