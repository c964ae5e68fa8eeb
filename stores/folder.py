"""A folder as a store. It may lie on a network's file system, where several machines write at once."""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stores.store import Moved, Stat, StoreError, untold

# File systems without hard links say one of these.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True)
class FolderStore:
    """Files are copied as a whole: what an interrupted copy left, dot files, is never taken for a file."""

    directory: Path

    @property
    def url(self) -> str:
        return self.directory.absolute().as_uri()

    def put(self, name: str, source: Path, *, replace: bool = False, moved: Moved = untold) -> bool:
        path = self.directory / name
        with self._told():
            if not replace and path.exists():
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = _copied(source, path)
            try:
                done = _placed(scratch, path, replace)
            finally:
                scratch.unlink(missing_ok=True)
            if done:
                moved(*[path.stat().st_size] * 2)
            return done

    def get(self, name: str, target: Path, *, moved: Moved = untold) -> bool:
        with self._told():
            try:
                scratch = _copied(self.directory / name, target)
            except FileNotFoundError:
                return False
            scratch.replace(target)
            moved(*[target.stat().st_size] * 2)
            return True

    def stat(self, name: str) -> Stat | None:
        with self._told():
            try:
                found = (self.directory / name).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            modified = datetime.fromtimestamp(found.st_mtime, UTC)
            return Stat(name, found.st_size, modified, f"{found.st_mtime_ns}-{found.st_size}")

    def list(self, prefix: str = "") -> Iterator[Stat]:
        start = self.directory / prefix.rpartition("/")[0]
        with self._told():
            paths = sorted(path for path in start.rglob("*") if path.is_file() and not path.name.startswith("."))
        for path in paths:
            name = path.relative_to(self.directory).as_posix()
            if name.startswith(prefix) and (found := self.stat(name)):
                yield found

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.directory}: {error.strerror or error}") from error


def _copied(source: Path, target: Path) -> Path:
    """A copy beside the target, under a name of its own."""
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        shutil.copyfile(source, scratch)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    return scratch


def _placed(scratch: Path, path: Path, replace: bool) -> bool:
    """Gives a file its name; False where the name is taken and not to be replaced. Of several at once, one is first."""
    if replace:
        scratch.replace(path)
        return True
    try:
        path.hardlink_to(scratch)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        scratch.replace(path)
    return True
