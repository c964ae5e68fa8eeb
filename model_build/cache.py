"""Content-addressed nodes: what a key was built from once is never built again.

A node is a folder named by its key, with `node.json` beside its files. It is written elsewhere and renamed when it is
complete, so that a killed build leaves nothing that the next one could take for a result.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_build.manifest import file_sha256

RECORD = "node.json"
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
    """The nodes in one folder. Several builds may use it at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._verified: dict[str, Node] = {}

    def find(self, node_key: str) -> Node | None:
        """The node, if it is there and none of its files changed since; a damaged one is removed."""
        if node_key in self._verified:
            return self._verified[node_key]
        directory = self.directory / node_key
        record = _read_record(directory)
        if record is None:
            shutil.rmtree(directory, ignore_errors=True)
            return None
        node = Node(node_key, directory, record["seconds"], built=False)
        self._verified[node_key] = node
        return node

    def obtain(self, node_key: str, make: Callable[[Path], None], describe: Mapping[str, Any]) -> Node:
        """The node, made by `make(directory)` if it is not there. `describe` is for people who look into the folder."""
        if found := self.find(node_key):
            return found
        self.directory.mkdir(parents=True, exist_ok=True)
        self._sweep()
        scratch = self.directory / f"tmp-{os.getpid()}-{secrets.token_hex(4)}"
        scratch.mkdir()
        started = time.monotonic()
        try:
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
            for path in (*files, scratch / RECORD, scratch):
                synchronise(path)
            target = self.directory / node_key
            try:
                scratch.rename(target)
            except OSError:
                if _read_record(target) is None:
                    raise
                # Another build made the same node in the meantime; ours is dropped below.
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        node = Node(node_key, self.directory / node_key, seconds, built=True)
        self._verified[node_key] = node
        return node

    def _sweep(self) -> None:
        """Removes what killed builds left."""
        for left in self.directory.glob("tmp-*"):
            if not is_alive(int(left.name.split("-")[1])):
                shutil.rmtree(left, ignore_errors=True)


def _read_record(directory: Path) -> dict[str, Any] | None:
    """A node's record, if every file that it lists is as it was written."""
    try:
        record = json.loads((directory / RECORD).read_bytes())
        intact = record["format"] == FORMAT and all(
            file_sha256(directory / name) == expected for name, expected in record["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if intact else None


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
