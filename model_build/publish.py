"""Makes a finished folder the published one, so that a reader sees the old files or the new, never a mixture."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

from model_build.cache import is_alive, synchronise

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def scratch(build: Path, name: str) -> Path:
    """A new, empty folder beside the published one."""
    path = build / f".{name}.tmp-{os.getpid()}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def publish(finished: Path, target: Path) -> None:
    """Puts `finished` in the place of `target`, whose old files are removed."""
    for path in (*finished.iterdir(), finished):
        synchronise(path)
    if not target.exists():
        finished.rename(target)
    elif _exchange(finished, target):
        shutil.rmtree(finished)
    else:
        old = target.with_name(f".{target.name}.old-{os.getpid()}")
        target.rename(old)
        finished.rename(target)  # killed just before: `recover` puts the old folder back
        shutil.rmtree(old)
    synchronise(target.parent)


def recover(build: Path, name: str) -> None:
    """Mends what a killed build left: puts the last good folder back where it was moved away, removes the rest."""
    target = build / name
    for old in build.glob(f".{name}.old-*"):
        if not target.exists():
            old.rename(target)
    for left in (*build.glob(f".{name}.old-*"), *build.glob(f".{name}.tmp-*")):
        if not is_alive(int(left.name.rpartition("-")[2])):
            shutil.rmtree(left, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two folders in one step, where the system can: Linux's `renameat2`, which Python does not offer."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(
        renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)) == 0
    )
