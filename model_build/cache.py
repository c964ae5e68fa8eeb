"""Content-addressed nodes: what a key was built from once is never built again.

A node is a folder named by its key, with `node.json` beside its files. It is written elsewhere and renamed when it is
complete, so that a killed build leaves nothing that the next one could take for a result.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import shutil
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_build import locks, machine
from model_build.manifest import file_sha256
from model_build.progress import SILENT, Progress
from model_build.shared_cache import SharedCache

RECORD = "node.json"
IN_USE = "in-use"
"""The lock beside the nodes that whoever uses them shares, as long as it runs: `pruning` needs it alone."""
USED_AGAIN = 3600
"""Seconds after which a node's being found is noted again, as its folder's time."""
FORMAT = 1


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def key(kind: str, /, **parts: Any) -> str:
    """The key of a node: everything that its content depends on, as JSON values."""
    return digest({"format": FORMAT, "kind": kind, **parts})


@dataclass(frozen=True)
class Node:
    key: str
    directory: Path
    seconds: float
    """What making it took, whenever that was."""
    built: bool
    """Whether it was made just now."""

    def read_json(self, name: str) -> Any:
        return json.loads((self.directory / name).read_bytes())


class Cache:
    """The nodes in one folder. Several builds may use it at once: a node that two need is made by one of them."""

    def __init__(self, directory: Path, shared: SharedCache | None = None, progress: Progress = SILENT) -> None:
        self.directory = directory
        self.shared = shared
        self.progress = progress
        self._verified: dict[str, Node] = {}
        self._in_use: weakref.finalize[Any, Any] | None = None

    def find(self, node_key: str) -> Node | None:
        """The node, if it is there, or in the shared cache, and none of its files changed since."""
        if found := self._find_here(node_key):
            return found
        if self.shared is None or node_key in self.shared.absent or not self.shared.readable:
            return None
        with self._lock(node_key):
            return self._find_here(node_key) or self._fetch(node_key)

    def obtain(self, node_key: str, make: Callable[[Path], None], describe: Mapping[str, Any]) -> Node:
        """The node, made by `make(directory)` if it is not there. `describe` is for people who look into the folder."""
        if found := self.find(node_key):
            return found
        with self._lock(node_key):
            if found := self._find_here(node_key):  # made while this build waited
                return found
            with machine.working(), self._scratch() as scratch:
                started = time.monotonic()
                make(scratch)
                seconds = time.monotonic() - started
                files = sorted(path for path in scratch.rglob("*") if path.is_file())
                record = {
                    "format": FORMAT,
                    "key": node_key,
                    "seconds": round(seconds, 3),
                    "describe": dict(describe),
                    "files": {path.relative_to(scratch).as_posix(): file_sha256(path) for path in files},
                }
                (scratch / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
                node = Node(node_key, self._complete(scratch, node_key), seconds, built=True)
            self._verified[node_key] = node
            if self.shared:
                with self._scratch() as scratch:
                    self.shared.push(node_key, node.directory, scratch)
        return node

    def _find_here(self, node_key: str) -> Node | None:
        if node_key in self._verified:
            return self._verified[node_key]
        directory = self.directory / node_key
        if not directory.is_dir():
            return None
        self._hold()
        record = _read_record(directory, node_key)
        if record is None:
            return None
        if time.time() - directory.stat().st_mtime > USED_AGAIN:
            with suppress(PermissionError):  # another user's, of a folder that several use
                os.utime(directory)
        node = Node(node_key, directory, record["seconds"], built=False)
        self._verified[node_key] = node
        return node

    def _fetch(self, node_key: str) -> Node | None:
        """The node out of the shared cache. Its lock is held."""
        assert self.shared is not None  # noqa: S101  # asked for only then
        with self._scratch() as scratch:
            fetched = scratch / "node"
            if not self.shared.pull(node_key, fetched):
                return None
            if _read_record(fetched, node_key) is None:
                self.shared.damaged(node_key, "its digests do not match")
                return None
            self._complete(fetched, node_key)
        return self._find_here(node_key)

    def _lock(self, node_key: str) -> AbstractContextManager[None]:
        return locks.held(
            self.directory.parent / "locks" / f"{node_key}.lock",
            lambda owner: self.progress.note(f"{owner} makes the same; waiting for it"),
            machine.resting,
        )

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A new folder, removed at the end unless it was completed; what killed builds left goes first."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._hold()
        self._sweep()
        scratch = self.directory / scratch_name()
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _complete(self, scratch: Path, node_key: str) -> Path:
        """Gives a complete folder the node's name; everything in it is on the disk before."""
        for path in (*scratch.rglob("*"), scratch):
            synchronise(path)
        target = self.directory / node_key
        shutil.rmtree(target, ignore_errors=True)  # a damaged one; the lock is held
        scratch.rename(target)
        return target

    def _hold(self) -> None:
        """Keeps what is found and made from being pruned, until this object is not needed any more."""
        if self._in_use is None:
            self._in_use = weakref.finalize(self, os.close, locks.shared(self.directory.parent / IN_USE))

    def _sweep(self) -> None:
        """Removes what killed builds of this machine left; others' may be at work, where the folder is shared."""
        for left in self.directory.glob(f"tmp-*-{_host()}-*"):
            if not is_alive(int(left.name.split("-")[1])):
                shutil.rmtree(left, ignore_errors=True)


def _read_record(directory: Path, node_key: str) -> dict[str, Any] | None:
    """A node's record, if every file that it lists is as it was written."""
    try:
        record = json.loads((directory / RECORD).read_bytes())
        intact = (record["format"], record["key"]) == (FORMAT, node_key) and all(
            file_sha256(directory / name) == expected for name, expected in record["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if intact else None


def scratch_name() -> str:
    """Of a folder that is not a node, and of which is known whose it is."""
    return f"tmp-{os.getpid()}-{_host()}-{secrets.token_hex(4)}"


def _host() -> str:
    return digest(platform.node())[:8]


def synchronise(path: Path) -> None:
    """Forces a file or folder to the disk, so that a rename after it never shows an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
