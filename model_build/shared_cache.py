"""Nodes that several machines share: what one has built, another fetches, with every digest verified.

Where they lie is a `Store`'s business, of which this room knows the interface alone: the command line opens them, so
that building depends on no cloud's library. A store that fails never fails a build: it says so once, and the build goes
on without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from model_build import archive
from model_build.progress import SILENT, Progress
from stores.store import Store, StoreError


@dataclass
class SharedCache:
    """The nodes of a store. `progress` is told when it cannot be used."""

    store: Store
    progress: Progress = SILENT
    readable: bool = True
    writable: bool = True
    absent: set[str] = field(default_factory=set)
    """Keys that were asked for in vain: not asked for again by this build."""
    broken: set[str] = field(default_factory=set)
    """Those of them that are there, but damaged: what is made here replaces them."""

    def pull(self, key: str, directory: Path) -> bool:
        """Unpacks a node's files into a new folder, still to be verified; False where there are none to be had."""
        if not self.readable or key in self.absent:
            return False
        packed = directory.with_name(f"{directory.name}.tar.gz")
        try:
            if not self.store.get(_name(key), packed):
                self.absent.add(key)
                return False
            directory.mkdir()
            archive.unpack(packed, directory)
        except StoreError as error:
            self.readable = self.writable = False
            self.progress.note(f"warning: the shared cache cannot be read ({error}); going on without it")
            return False
        except ValueError as error:
            self.damaged(key, str(error))
            return False
        finally:
            packed.unlink(missing_ok=True)
        return True

    def damaged(self, key: str, reason: str) -> None:
        """Says that a fetched node is not what was stored; it is built here."""
        self.absent.add(key)
        self.broken.add(key)
        self.progress.note(f"warning: node {key[:12]} of the shared cache is damaged ({reason}); building it here")

    def push(self, key: str, directory: Path, scratch: Path) -> None:
        """Stores a node of this machine, packed into the folder `scratch` on the way."""
        if not self.writable:
            return
        packed = scratch / "node.tar.gz"
        files: dict[str, bytes | Path] = {
            path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()
        }
        try:
            archive.pack(files, packed)
            self.store.put(_name(key), packed, replace=key in self.broken)
        except StoreError as error:
            self.writable = False
            self.progress.note(f"warning: the shared cache cannot be written ({error}); it is only read from now on")
        finally:
            packed.unlink(missing_ok=True)


def _name(key: str) -> str:
    return f"nodes/{key[:2]}/{key}.tar.gz"
