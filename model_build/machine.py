"""Who may keep this machine busy: work of several builds at once, or one that measures and needs it for itself.

A latency that was taken while another build quantizes is worth nothing, so measuring waits for work to pause and keeps
it from going on. Only builds of the same user know of each other.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_held = threading.local()
"""`descriptor` of the lock that this thread has, None without, and `depth`, how often it was asked for."""


@contextmanager
def working() -> Iterator[None]:
    """Encloses what keeps cores busy. Waits while someone measures."""
    if getattr(_held, "depth", 0) == 0:
        _held.descriptor = _take(fcntl.LOCK_SH)
    _held.depth = getattr(_held, "depth", 0) + 1
    try:
        yield
    finally:
        _held.depth -= 1
        if _held.depth == 0:
            _release()


@contextmanager
def resting() -> Iterator[None]:
    """Lets others measure while the work around it waits: they may be who it waits for."""
    before = getattr(_held, "depth", 0)
    if before:
        _release()
        _held.depth = 0
    try:
        yield
    finally:
        if before:
            _held.descriptor = _take(fcntl.LOCK_SH)
            _held.depth = before


def pause() -> None:
    """Lets who waits to measure do it now. For long work, between two of its steps."""
    with resting():
        pass


@contextmanager
def measuring() -> Iterator[None]:
    """Encloses what is measured: no other build of this user works or measures then."""
    with resting():
        _held.descriptor = _take(fcntl.LOCK_EX)
        _held.depth = 1  # what works inside has the machine already
        try:
            yield
        finally:
            _held.depth = 0
            _release()


def _take(kind: int) -> int:
    """Gets the lock through a gate, which one who measures keeps shut as he waits: work would go on for ever else."""
    folder = Path(tempfile.gettempdir()) / f"slipway-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    gate = os.open(folder / "gate", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        descriptor = os.open(folder / "busy", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, kind)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    finally:
        os.close(gate)


def _release() -> None:
    os.close(_held.descriptor)
    _held.descriptor = None
