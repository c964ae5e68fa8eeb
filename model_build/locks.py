"""Locks between processes that nobody can leave behind: the kernel lets go of a `flock` when its owner ends, however.

Apart from `cache`, since a whole build takes one too.
"""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path


@contextmanager
def held(
    path: Path,
    waiting: Callable[[str], None] = lambda owner: None,
    meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[None]:
    """Holds the lock of that name. Where another has it, `waiting` is told who, and `meanwhile` encloses the wait.

    Also between two threads of one process. The file is removed at the end; while it is there, it names the owner.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path, waiting, meanwhile)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while the lock is held, so nobody else's lock is on this file
        os.close(descriptor)


def shared(path: Path) -> int:
    """A descriptor that holds the lock of that name beside others who hold it so; waits while one holds it `alone`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


@contextmanager
def alone(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds a lock that nobody else holds `shared` then. `waiting` is called where others do, before they are done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _locked(path: Path, waiting: Callable[[str], None], meanwhile: Callable[[], AbstractContextManager[None]]) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting(os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another build")
                with meanwhile():
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner removed it as it let go: the name is another file's by now, or nobody's


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
