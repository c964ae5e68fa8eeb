"""`slipway cache`: what the cache of builds holds, and removing what is not needed any more."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from model_build.pruning import Entry

_SECONDS = {"h": 3600, "d": 86_400, "w": 604_800}
SHOWN = 20
"""Entries that a dry run lists, the largest first."""


def _age(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    if not re.fullmatch(r"\d{1,5}[hdw]", value):
        raise click.BadParameter(f"'{value}' is no age such as 12h, 30d or 8w")
    return int(value[:-1]) * float(_SECONDS[value[-1]])


@click.group(invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """What builds keep, so that nothing is made twice: build/.cache. Without a command: how much that is."""
    if context.invoked_subcommand:
        return
    from model_build import pruning

    found = pruning.entries(context.obj)
    published = [entry for entry in found if entry.published]
    click.echo(f"{_counted(found)}; {_counted(published)} named by the reports of published models")
    if found:
        click.echo(f"the oldest was used {_ago(found[-1].used, time.time())} ago")
        click.echo("make room with: slipway cache prune --older-than 30d")


@command.command()
@click.option("--older-than", callback=_age, metavar="AGE", help="What no build used for so long: 12h, 30d, 8w.")
@click.option(
    "--keep-gb", type=click.FloatRange(min=0), metavar="N", help="What was used last stays, up to so many gigabytes."
)
@click.option("--all", "all_of_it", is_flag=True, help="Also what the reports of published models name.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.pass_obj
def prune(root: Path, older_than: float | None, keep_gb: float | None, all_of_it: bool, dry_run: bool) -> None:
    """Remove nodes from the cache; a build that needs one again makes it again. Waits for builds that run.

    What reports of published models name stays, as `slipway diagnose` measures it again.

    \b
      slipway cache prune --older-than 30d --dry-run
      slipway cache prune --keep-gb 5
    """
    from model_build import pruning
    from slipway.console import Console

    if older_than is None and keep_gb is None:
        raise click.UsageError("say what may go: --older-than 30d, --keep-gb 5, or both")
    keep = None if keep_gb is None else round(keep_gb * 1e9)
    with nullcontext() if dry_run else pruning.alone(root, Console()):
        found = pruning.entries(root)
        now = time.time()
        gone = pruning.removable(found, now, older_than=older_than, keep=keep, all_of_it=all_of_it)
        if not dry_run:
            pruning.remove(root, gone)
    if dry_run:
        for entry in sorted(gone, key=lambda entry: -entry.bytes)[:SHOWN]:
            click.echo(f"  {entry.bytes / 1e6:8.1f} MB  {_ago(entry.used, now):>5}  {entry.what}")
        if len(gone) > SHOWN:
            click.echo(f"  … and {len(gone) - SHOWN} more")
    stays = [entry for entry in found if entry not in gone]
    click.echo(f"{'would remove' if dry_run else '✓ removed'} {_counted(gone)}; {_counted(stays)} stay")


def _counted(entries: Sequence[Entry]) -> str:
    return f"{len(entries)} node{'' if len(entries) == 1 else 's'}, {sum(one.bytes for one in entries) / 1e6:.1f} MB"


def _ago(used: float, now: float) -> str:
    hours = max(0.0, now - used) / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"
