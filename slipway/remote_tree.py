"""What a remote build is made from: files of the checkout that git knows, and those that specs name, by digest."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from model_build.errors import UserError
from model_build.inputs import SLIPWAY
from model_build.manifest import file_sha256
from model_build.project_files import input_files, walk
from model_build.spec import Spec
from stores import blobs
from stores.store import Store

PROJECT, CODE = "project", "slipway"
"""The two folders of a tree: the user's checkout, and Slipway's own code that builds it."""
ROOMS = ("model_build", "requirements", "serving", "slipway", "stores")
LEFT_OUT = ("build", ".git", ".slipway")
AT_ONCE = 16


@dataclass(frozen=True)
class File:
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class Tree:
    """Files by their path in the tree, `project/specs/a.yaml`."""

    files: Mapping[str, File]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())

    def blobs(self) -> dict[str, File]:
        """One file for each content, by its digest."""
        return {file.sha256: file for file in self.files.values()}


def gather(root: Path, specs: Mapping[Path, Spec]) -> Tree:
    """The tree of a build of some specs. Raises UserError for a file that lies outside the project."""
    found = {path for path in tracked(root) if _belongs(path)}
    for path, spec in specs.items():
        found |= set(input_files(spec, root, path))
    named = {f"{PROJECT}/{path}": root / path for path in sorted(found)}
    for room in ROOMS:
        for file in walk(SLIPWAY / room):
            named[f"{CODE}/{file.relative_to(SLIPWAY).as_posix()}"] = file
    return Tree({name: _file(path) for name, path in named.items() if path.is_file()})


def _belongs(path: str) -> bool:
    return path.split("/", 1)[0] not in LEFT_OUT


def _file(path: Path) -> File:
    return File(path, file_sha256(path), path.stat().st_size)


def tracked(root: Path) -> Iterator[str]:
    """What git has of the folder, as it is now on the disk; without git, all but caches and hidden files."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        yield from (path.relative_to(root).as_posix() for path in walk(root))
        return
    yield from (name for name in done.stdout.decode("utf-8", "surrogateescape").split("\0") if name)


def missing(tree: Tree, store: Store) -> list[File]:
    """The contents that a store does not have, or has in part only. Raises StoreError."""
    known = {stat.name: stat.size for stat in store.list("blobs/")}
    return [file for sha256, file in tree.blobs().items() if known.get(blobs.name(sha256)) != file.size]


def upload(files: Sequence[File], store: Store) -> None:
    """Raises StoreError, and UserError for a file that changed in between."""
    with ThreadPoolExecutor(AT_ONCE, "upload") as pool:
        for _ in pool.map(lambda file: _put(file, store), files):
            pass


def _put(file: File, store: Store) -> None:
    blobs.put(store, file.path, file.sha256)
    if file_sha256(file.path) != file.sha256:
        raise UserError(f"{file.path} changed while it was sent", "build again once it stays as it is")


def listing(tree: Tree) -> dict[str, str]:
    """Path → digest: what the job lays out again."""
    return {name: file.sha256 for name, file in sorted(tree.files.items())}


def manifest(tree: Tree, store_url: str) -> list[object]:
    """The tree's contents as a manifest of S3 objects, which SageMaker brings to the job."""
    return [{"prefix": f"{store_url}/"}, *sorted(blobs.name(sha256) for sha256 in tree.blobs())]


def requirements(paths: Iterable[str]) -> list[str]:
    """The locked sets among a tree's files that a build installs."""
    wanted = (f"{CODE}/requirements/{name}.txt" for name in ("build", "torch"))
    present = set(paths)
    return [path for path in wanted if path in present]
