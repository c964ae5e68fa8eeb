"""`slipway migrate`: specs of an older version become specs of this one, with the difference to read first."""

from __future__ import annotations

import difflib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from model_build import loading, migrations
from model_build.cache import synchronise
from model_build.errors import SpecError, UserError
from model_build.migrations import Migrated
from model_build.yaml_edit import EditError

_COLOURS = {"---": "", "+++": "", "@@": "cyan", "-": "red", "+": "green"}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@click.option("--write", is_flag=True, help="Change the files. Comments, order, quotes and line ends stay.")
@click.option("--check", is_flag=True, help="Exit 1 where a spec is of an older version, for CI.")
@click.pass_obj
def command(root: Path, names: tuple[str, ...], write: bool, check: bool) -> None:
    """Upgrade specs of an older version: the named models', or all in specs/.

    Says what changed in the spec's form and why, and shows the difference, which `patch` takes too. A file that cannot
    be changed safely is left as it is, with the line to look at.

    \b
      slipway migrate                    what would change
      slipway migrate fashion --write    change specs/fashion.yaml
      slipway migrate --check            is anything of an older version?
    """
    if write and check:
        raise click.UsageError("--write changes the files and --check only looks; give one of them")
    made: dict[Path, Migrated] = {}
    problems: list[str] = []
    paths = loading.find(names, root)
    for path in paths:
        try:
            made[path] = _migrated(path)
        except EditError as error:
            problems.append(str(loading.problem(_shown(path, root), error.line, error.key, error.message)))
    older = {path: one for path, one in made.items() if one.reasons}
    for path, one in older.items():
        click.echo(f"{_shown(path, root)}: version {one.version} → {migrations.current()}", err=True)
        for number, reason in enumerate(one.reasons, one.version + 1):
            click.echo(f"  {number}: {reason}", err=True)
        for line in _difference(_shown(path, root), one):
            click.echo(line)
    if write:
        for path, one in older.items():
            _replace(path.resolve(), one.after)
    if problems:
        raise SpecError(problems)
    if not older:
        click.echo(f"✓ nothing to migrate: {_count(paths)} of version {migrations.current()}, this Slipway's", err=True)
    elif write:
        click.echo(f"✓ wrote {_count(list(older))}; next: slipway check", err=True)
    else:
        click.echo(f"{_count(list(older))} to migrate; next: {' '.join(('slipway migrate', *names))} --write", err=True)
        if check:
            raise SystemExit(1)


def _migrated(path: Path) -> Migrated:
    text, trouble = loading.text_of(path)
    if trouble:
        raise EditError(1, (), trouble)
    return migrations.migrate(text)


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _difference(shown: str, one: Migrated) -> Iterator[str]:
    """A unified diff; on a terminal in colour and without what would act on it."""
    terminal = sys.stdout.isatty()
    before, after = (io.StringIO(text, newline="").readlines() for text in (one.before, one.after))
    dates = f"version {one.version}", f"version {migrations.current()}"
    for line in difflib.unified_diff(before, after, shown, shown, *dates):
        text, end, _ = line.partition("\n")
        if terminal:
            text = "".join(each if each.isprintable() or each == "\t" else "" for each in text)
            colour = next((colour for start, colour in _COLOURS.items() if text.startswith(start)), None)
            text = text if colour is None else click.style(text, fg=colour or None, bold=True if not colour else None)
        yield text if end else f"{text}\n\\ No newline at end of file"


def _replace(path: Path, text: str) -> None:
    """Writes a file whole or not at all. Raises UserError."""
    mark = b"\xef\xbb\xbf" if path.read_bytes().startswith(b"\xef\xbb\xbf") else b""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        scratch.write_bytes(mark + text.encode())
        shutil.copymode(path, scratch)
        synchronise(scratch)
        scratch.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", "mend that, and run it again") from None
    finally:
        scratch.unlink(missing_ok=True)


def _count(paths: list[Path]) -> str:
    return f"{len(paths)} spec{'' if len(paths) == 1 else 's'}"
