"""Removes from `build/.cache` what was not used for long, or more than fits: nodes, and what killed training left.

Apart from `cache`, which only adds. What a published report names stays unless all may go: `slipway diagnose` measures
it again. Nothing that a running build may have found is removed, as the cache is asked for as a whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from model_build import locks
from model_build.cache import IN_USE, RECORD, scratch_name
from model_build.progress import SILENT, Progress

FOLDER = Path("build", ".cache")


@dataclass(frozen=True)
class Entry:
    """A node, or what an unfinished training goes on from."""

    path: Path
    what: str
    """The spec it was made for, and the step."""
    bytes: int
    used: float
    """When a build made or found it last; seconds since the epoch."""
    published: bool
    """Whether the report of a published model names it."""


def entries(root: Path) -> list[Entry]:
    """All there is, what was used last first."""
    published = _published(root)
    nodes = [path for path in _folders(root / FOLDER / "nodes") if not path.name.startswith("tmp-")]
    found = [_entry(path, _what(path), path.name in published) for path in nodes]
    found += [_entry(path, "an unfinished training", False) for path in _folders(root / FOLDER / "work")]
    return sorted(found, key=lambda entry: (-entry.used, entry.path))


def removable(
    found: Sequence[Entry], now: float, *, older_than: float | None = None, keep: int | None = None, all_of_it: bool
) -> list[Entry]:
    """Of entries in the order of their use: those not used for `older_than` seconds, and those beyond `keep` bytes.

    What is published is neither removed nor weighed first, unless `all_of_it` may go.
    """
    stays = [] if all_of_it else [entry for entry in found if entry.published]
    left = (keep or 0) - sum(entry.bytes for entry in stays)
    removed = []
    for entry in found:
        if entry in stays:
            continue
        if older_than is not None and now - entry.used > older_than:
            removed.append(entry)
            continue
        left -= entry.bytes
        if keep is not None and left < 0:
            removed.append(entry)
    return removed


def remove(root: Path, wanted: Iterable[Entry]) -> None:
    """Removes entries. The cache must be held `alone`, until they have left their names."""
    for entry in wanted:
        # Gone at once, and swept by the next build if this process ends here.
        scratch = root / FOLDER / "nodes" / scratch_name()
        entry.path.rename(scratch)
        shutil.rmtree(scratch)


def alone(root: Path, progress: Progress = SILENT) -> AbstractContextManager[None]:
    """A context in which no build of the project uses the cache: it waits for those that do."""
    return locks.alone(root / FOLDER / IN_USE, lambda: progress.note("a build uses the cache; waiting for it"))


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _entry(path: Path, what: str, published: bool) -> Entry:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return Entry(path, what, size, path.stat().st_mtime, published)


def _what(node: Path) -> str:
    try:
        described = json.loads((node / RECORD).read_bytes())["describe"]
        return f"{described['model']}: {described['step']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"


def _published(root: Path) -> set[str]:
    """The keys of the nodes that the reports of published models name."""
    keys = set()
    for path in (root / FOLDER.parent).glob("*/report.json"):
        try:
            report = json.loads(path.read_bytes())
            keys |= {step["node"] for candidate in report["candidates"] for step in candidate["passes"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no report of ours: it names no node
    return keys
