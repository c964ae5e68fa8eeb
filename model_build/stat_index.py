"""Tells that nothing changed since a build by looking at files, not into them: a no-op neither hashes nor imports.

Apart from `build`, and made of the standard library alone, since the command line asks it before it imports anything.
One record per spec: what `stat` says of every file, which names every folder holds, and the digest of the environment.
Only "nothing changed" is ever concluded from it; whatever looks different is left to the build, which compares content.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = 1
FOLDER = os.path.join("build", ".cache", "index")
PATH = tuple(sys.path)
"""Where modules are looked for, before libraries add to it (onnxruntime.transformers does)."""
SLIPWAY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IGNORED = frozenset({"__pycache__", "build", "node_modules"})
"""Folders whose content no key depends on; hidden ones and `*.pyc` are not looked at either."""
TICK = 20_000_000
"""Nanoseconds. A file that changed less than this before it was looked at can change again without showing it: the
kernel's file times advance in steps of up to 10 ms. The same caution as git's for its index."""
COARSE_TICK = 2_100_000_000
"""The same where file times are whole seconds."""


@dataclass(frozen=True)
class Snapshot:
    """What files and folders looked like at one moment."""

    files: dict[str, list[int]]
    """Path → size, mtime, ctime (ns) and inode. A change that keeps size and mtime still moves the ctime."""
    folders: dict[str, str]
    """Path → digest of the names in there."""
    settled: bool
    """Whether all of it was old enough that a later change must show."""


@dataclass(frozen=True)
class Environment:
    """What every build on this machine stands on, beside the spec's own files."""

    digest: str
    newest: int
    """The latest ctime of Slipway's own files, ns."""


def take(root: str, files: Iterable[str], folders: Iterable[str]) -> Snapshot:
    """Looks at files and folders, whose paths are absolute or relative to `root`. Raises OSError for one not there.

    To be called before their content is read: what changes in between is then seen as a change.
    """
    now = clock(root)
    looked = {path: _stat(os.path.join(root, path)) for path in files}
    names = {path: _names(os.path.join(root, path)) for path in folders}
    return Snapshot(looked, names, all(status[2] < now - tick(now) for status in looked.values()))


def clock(root: str) -> int:
    """The time as the file system has it, ns: a server's clock may differ from this machine's."""
    path = os.path.join(root, FOLDER, ".clock")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb"):
        os.utime(path)
        return os.stat(path).st_mtime_ns


def tick(now: int) -> int:
    return TICK if now % 1_000_000_000 else COARSE_TICK


def environment(path: Iterable[str] = PATH) -> Environment:
    """The interpreter, the installed distributions (whose folders carry their versions) and Slipway's own code."""
    parts: list[Any] = [FORMAT, sys.version, os.uname().machine if hasattr(os, "uname") else sys.platform]
    newest = 0
    for folder in path:
        parts.append((folder, _names(folder, _importable) if os.path.isdir(folder) else ""))
    for room in ("model_build", "serving"):
        for folder, subfolders, names in os.walk(os.path.join(SLIPWAY, room)):
            subfolders[:] = sorted(name for name in subfolders if name not in IGNORED)
            for name in sorted(names):
                if name.endswith((".py", ".html")):
                    path = os.path.join(folder, name)
                    status = _stat(path)
                    newest = max(newest, status[2])
                    parts.append((path, status))
    return Environment(hashlib.sha256(json.dumps(parts).encode()).hexdigest(), newest)


def write(
    root: str, name: str, around: Environment, inputs: Snapshot, outputs: Snapshot, outcome: Mapping[str, Any]
) -> None:
    """Records an up-to-date build. Nothing is kept of one that was looked at too soon after a change."""
    path = _path(root, name)
    now = clock(root)
    if not (inputs.settled and outputs.settled and around.newest < now - tick(now)):
        forget(root, name)
        return
    record = {
        "format": FORMAT,
        "environment": around.digest,
        "files": inputs.files | outputs.files,
        "folders": inputs.folders,
        "outcome": dict(outcome),
    }
    scratch = f"{path}.{os.getpid()}.tmp"
    with open(scratch, "w", encoding="utf-8") as stream:
        json.dump(record, stream, separators=(",", ":"))
    os.replace(scratch, path)


def forget(root: str, name: str) -> None:
    try:
        os.unlink(_path(root, name))
    except FileNotFoundError:
        return


class Index:
    """The records of a project, asked for one spec after the other. Each folder is listed once."""

    def __init__(self, root: str, around: Environment) -> None:
        self.root = root
        self.around = around
        self._listed: dict[str, str] = {}

    def outcome(self, name: str, spec: str) -> dict[str, Any] | None:
        """What the last build of a spec published, whose file is `spec`, if nothing has changed since."""
        try:
            with open(_path(self.root, name), "rb") as stream:
                record = json.loads(stream.read())
            if (record["format"], record["environment"]) != (FORMAT, self.around.digest) or spec not in record["files"]:
                return None
            for path, before in record["files"].items():
                if _stat(os.path.join(self.root, path)) != before:
                    return None
            for path, before in record["folders"].items():
                if self._names(path) != before:
                    return None
            outcome: dict[str, Any] = record["outcome"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return outcome

    def _names(self, path: str) -> str:
        if path not in self._listed:
            self._listed[path] = _names(os.path.join(self.root, path))
        return self._listed[path]


def _path(root: str, name: str) -> str:
    return os.path.join(root, FOLDER, f"{name}.json")


def _stat(path: str) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _names(folder: str, which: Callable[[str], bool] = lambda name: True) -> str:
    """Digest of a folder's names, without those that no key depends on."""
    names = [name for name in os.listdir(folder) if name[0] != "." and name not in IGNORED and name[-4:] != ".pyc"]
    return hashlib.sha256("\0".join(sorted(filter(which, names))).encode("utf-8", "surrogateescape")).hexdigest()


def _importable(name: str) -> bool:
    """Whether a name in a folder of `sys.path` can be a module, or say what is installed: not everything there is."""
    return "." not in name or name.endswith((".py", ".pth", ".dist-info", ".egg-info"))
