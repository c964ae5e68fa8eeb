"""Files in a bucket, whatever the cloud: small ones at once, large ones in parts, of which a later run has to send only
those that are missing. What there is of an upload is asked of the bucket, so that nothing has to be remembered here.

A cloud's module says how its service is asked; what to ask in which order is said here.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import ClassVar, TypeVar

from stores.address import Address
from stores.store import Moved, Stat, StoreError, untold

PART = 16 * 1024 * 1024
MOST_PARTS = 10_000
"""Both of S3 and of OSS."""
AT_ONCE = 4
PAUSES = (0.2, 1.0)
"""Seconds before a download that was cut off is tried again; whole requests are repeated by the clouds' libraries."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Outdated(StoreError):
    """An upload met another one of the same name: it is completed or aborted, or has other parts by now."""


@dataclass(frozen=True)
class Part:
    """A part as the service has it: `etag` without quotes, `checksum` as the service writes the one that it keeps."""

    number: int
    etag: str
    checksum: str | None = None


@dataclass(frozen=True)
class BucketStore(ABC):
    """A bucket, or what lies below a prefix in one. The region is the environment's where none is given."""

    bucket: str
    prefix: str = ""
    region: str | None = None
    part_size: int = field(default=PART, kw_only=True)
    at_once: int = field(default=AT_ONCE, kw_only=True)
    """Parts that move at the same time. As many are in memory, and as many again that are done out of turn."""

    scheme = ""
    taken: ClassVar[frozenset[str]]
    """The service's codes for a name that something has."""
    outdated: ClassVar[frozenset[str]]
    """Its codes for an upload that is not what it was."""

    @property
    def url(self) -> str:
        return str(Address(self.scheme, self.bucket, self.prefix))

    def put(self, name: str, source: Path, *, replace: bool = False, moved: Moved = untold) -> bool:
        key, size = self._key(name), source.stat().st_size
        with self._told():
            if not replace and self._head(key) is not None:
                return False
            send = self._put_whole if size <= self.part_size else self._put_parts
            try:
                return send(key, source, size, replace, moved)
            except Outdated:
                if not replace and self._head(key) is not None:
                    return False
                return send(key, source, size, replace, moved, anew=True)

    def get(self, name: str, target: Path, *, moved: Moved = untold) -> bool:
        key = self._key(name)
        with self._told():
            found = self._head(key)
            if found is None:
                return False
            # What is half there of another content has another name.
            state = hashlib.sha256(f"{self.url}/{key} {found.tag} {found.size}".encode()).hexdigest()[:16]
            partial = target.with_name(f".{target.name}.{state}.part")
            with partial.open("ab") as stream, ThreadPoolExecutor(self.at_once) as pool:
                done = stream.tell()
                if done > found.size:
                    done = stream.truncate(0)

                def read(start: int) -> bytes:
                    return self._read(key, start, min(self.part_size, found.size - start), found.tag)

                for data in in_order(pool, read, range(done, found.size, self.part_size), 2 * self.at_once):
                    stream.write(data)
                    done += len(data)
                    moved(done, found.size)
            if done != found.size:
                raise StoreError(f"{self.url}: {name} came as {done} bytes, not {found.size}")
            partial.replace(target)
            return True

    def stat(self, name: str) -> Stat | None:
        with self._told():
            found = self._head(self._key(name))
        return changed(found, name=name) if found else None

    def list(self, prefix: str = "") -> Iterator[Stat]:
        start = self._key("")
        with self._told():
            for found in self._all(start + prefix):
                yield changed(found, name=found.name.removeprefix(start))

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _put_whole(self, key: str, source: Path, size: int, replace: bool, moved: Moved, anew: bool = False) -> bool:
        done = self._write(key, source.read_bytes(), replace)
        moved(size, size)
        return done

    def _put_parts(self, key: str, source: Path, size: int, replace: bool, moved: Moved, anew: bool = False) -> bool:
        begun = None if anew else self._begun(key)
        upload = begun or self._begin(key)
        kept = self._parts(key, upload) if begun else {}
        length = max(self.part_size, -(-size // MOST_PARTS))

        def send(number: int) -> Part:
            with source.open("rb") as stream:
                stream.seek((number - 1) * length)
                data = stream.read(length)
            there = kept.get(number)
            return there if there and self._holds(there, data) else self._send(key, upload, number, data)

        parts = []
        with ThreadPoolExecutor(self.at_once) as pool:
            for part in in_order(pool, send, range(1, -(-size // length) + 1), self.at_once):
                parts.append(part)
                moved(min(part.number * length, size), size)
        done = self._complete(key, upload, parts, replace)
        if not done:
            self._abort(key, upload)
        return done

    def _begun(self, key: str) -> str | None:
        """An upload that was begun and not completed; of several, the last that the service names."""
        found = [*self._uploads(key)]
        return found[-1] if found else None

    def _unless_taken(self, write: Callable[[], object]) -> bool:
        """Writes on a condition; False where the name was not free."""
        try:
            write()
        except Exception as error:
            if self._code(error) in self.taken:
                return False
            raise
        return True

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Raises Outdated where the upload is not what it was."""
        try:
            yield
        except Exception as error:
            if self._code(error) in self.outdated:
                raise Outdated(f"{self.url}: {self._said(error)}") from error
            raise

    # How a service is asked. What goes wrong is raised as the service's library does; `_told` translates it.

    @contextmanager
    @abstractmethod
    def _told(self) -> Iterator[None]:
        """Turns the errors of the service's library into StoreError."""
        yield

    @staticmethod
    @abstractmethod
    def _code(error: Exception) -> str | None:
        """The service's own code of an error; None where it is another kind of error."""

    @staticmethod
    @abstractmethod
    def _said(error: Exception) -> str:
        """What went wrong, on one line."""

    @abstractmethod
    def _head(self, key: str) -> Stat | None:
        """The object, its key as its name."""

    @abstractmethod
    def _read(self, key: str, start: int, size: int, tag: str) -> bytes:
        """Bytes of the object, if it is still the one that has this tag."""

    @abstractmethod
    def _write(self, key: str, data: bytes, replace: bool) -> bool:
        """Makes an object; False where there is one that is not to be replaced."""

    @abstractmethod
    def _all(self, prefix: str) -> Iterator[Stat]:
        """Every object whose key begins so."""

    @abstractmethod
    def _uploads(self, key: str) -> Iterator[str]:
        """The uploads of exactly this key that were begun and not completed."""

    @abstractmethod
    def _begin(self, key: str) -> str:
        """A new upload."""

    @abstractmethod
    def _parts(self, key: str, upload: str) -> dict[int, Part]:
        """What an upload has. Raises Outdated."""

    @abstractmethod
    def _holds(self, part: Part, data: bytes) -> bool:
        """Whether a part has these bytes."""

    @abstractmethod
    def _send(self, key: str, upload: str, number: int, data: bytes) -> Part:
        """Sends a part. Raises Outdated."""

    @abstractmethod
    def _complete(self, key: str, upload: str, parts: Sequence[Part], replace: bool) -> bool:
        """Makes the object of its parts; False where there is one that is not to be replaced. Raises Outdated."""

    @abstractmethod
    def _abort(self, key: str, upload: str) -> None:
        """Forgets an upload and what was sent of it."""


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """What the work gives for each item, in their order, begun for so many at a time and for no more after an error."""
    running: deque[Future[Result]] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) >= ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for one in running:
            one.cancel()


def persistently(read: Callable[[], bytes], transient: type[Exception] | tuple[type[Exception], ...]) -> bytes:
    """Reads, and reads again where that was cut off."""
    for pause in PAUSES:
        try:
            return read()
        except transient:
            time.sleep(pause)
    return read()
