"""`slipway build`: specs → measured, gated, packaged artifacts in build/NAME/."""

from __future__ import annotations

import json
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
@click.option("--on", "place", type=click.Choice(["sagemaker"]), help="Build as a processing job (docs/remote.md).")
@click.option("--env", "environment", default="local", show_default=True, help="With --on: environment it runs in.")
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help="With --on: in place of slipway:builds.")
@click.option("--dry-run", is_flag=True, help="With --on: print the job's request, and start nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, for programs.")
@click.pass_obj
def command(
    root: Path,
    names: tuple[str, ...],
    jobs: int | None,
    cache: str | None,
    scheduler: str | None,
    place: str | None,
    environment: str,
    given: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Build the named models, or all in specs/: run the candidates, measure them, apply the gates, package the best.

    What is built already is not built again. A missed gate exits 1 and leaves the last good artifact in place.

    \b
      slipway build
      slipway build fashion
      slipway build -j 4 --cache s3://my-bucket/slipway
      cat build/fashion/report.md
      slipway build fashion --on sagemaker --env dev --set instance=ml.c7i.4xlarge
    """
    from model_build.build import together

    if place:
        remotely(root, names, environment, given, cache, dry_run, as_json)
        return
    if given or dry_run:
        raise UserError("--set and --dry-run are of a build elsewhere", "give --on sagemaker, or leave them out")
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


def remotely(
    root: Path,
    names: Sequence[str],
    environment: str,
    given: Sequence[str],
    cache: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """`slipway build --on sagemaker`. Raises UserError."""
    from slipway import remote

    wrong = [one for one in given if "=" not in one]
    if wrong:
        raise UserError(f"--set {wrong[0]}: is no KEY=VALUE", "for instance --set instance=ml.c7i.4xlarge")
    settings = dict(one.split("=", 1) for one in given)
    if cache and cache.startswith("s3://"):
        settings.setdefault("store", cache)
    job = remote.plan(root, environment, names, settings)
    if dry_run:
        click.echo(json.dumps(job.request, indent=2))
        return
    built = remote.build(root, environment, job, Console())
    told = [{**one.summary(), "built": one.built, "seconds": round(one.seconds, 3)} for one in built]
    click.echo(outcomes.as_json(told) if as_json else "\n".join(map(outcomes.line, told)))


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
