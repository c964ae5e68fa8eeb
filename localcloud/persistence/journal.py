"""The journal: one JSON line for each request that changed what moto holds, its long bodies in files by digest.

Plain text that is read as data and never run, in a directory that only its owner may enter.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from localcloud.errors import LocalCloudError

log = logging.getLogger(__name__)

FORMAT = 1
INLINE_BYTES = 16 * 1024
_CHUNK = 1 << 20
_INCOMING = ".incoming-"


@dataclass(frozen=True)
class Body:
    """A request's body: in memory where it is short, else a file that is named by its digest once it is kept."""

    size: int
    content: bytes = b""
    digest: str = ""
    incoming: Path | None = None

    def open(self) -> IO[bytes]:
        return self.incoming.open("rb") if self.incoming else io.BytesIO(self.content)


@dataclass(frozen=True)
class Entry:
    """One request. `moment` is when it was made, seconds since the epoch; `seed` what made its random identifiers."""

    moment: float
    seed: int
    environ: Mapping[str, str]
    content: bytes = b""
    digest: str = ""

    def line(self) -> str:
        body = {"file": self.digest} if self.digest else {"base64": base64.b64encode(self.content).decode()}
        return json.dumps({"moment": self.moment, "seed": self.seed, "environ": dict(self.environ), "body": body})

    @classmethod
    def of(cls, line: bytes) -> Entry:
        """Raises ValueError for a line that is no entry."""
        try:
            kept = json.loads(line)
            environ, body = kept["environ"], kept["body"]
            content = base64.b64decode(body.get("base64", ""), validate=True)
            digest = body.get("file", "")
            if not all(isinstance(one, str) for pair in environ.items() for one in pair) or not isinstance(digest, str):
                raise ValueError("an environment is text")
            if digest and not (len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
                raise ValueError("a file is named by its digest")
            return cls(float(kept["moment"]), int(kept["seed"]), environ, content, digest)
        except (KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise ValueError(str(error)) from None


class Journal:
    """The journal of one server's directory; one process writes it at a time, which the directory's lock holds."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "journal.jsonl"
        self.bodies = directory / "bodies"
        self.bodies.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        for leftover in self.bodies.glob(f"{_INCOMING}*"):
            leftover.unlink()

    def entries(self) -> list[Entry]:
        """What was kept, oldest first. Raises LocalCloudError where it cannot be read.

        A last line that is not whole is what a killed server left; nobody had an answer to that request.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        whole, torn = lines[:-1], lines[-1]
        if torn:
            log.warning("%s: the last entry is not whole and is left out", self.path)
        found = []
        try:
            if whole and json.loads(whole[0]).get("format") != FORMAT:
                raise ValueError("it is of another version")
            for line in whole[1:]:
                found.append(Entry.of(line))
        except (ValueError, AttributeError) as error:
            raise LocalCloudError(
                f"{self.path}:{len(found) + 2}: the kept state cannot be read ({error}); to begin anew: "
                "slipway local start --fresh"
            ) from None
        if torn:
            self.write(found)
        return found

    def write(self, entries: Iterable[Entry]) -> None:
        """Replaces the whole journal, and removes bodies that it no longer names."""
        entries = list(entries)
        scratch = self.path.with_suffix(".new")
        with scratch.open("w", encoding="ascii") as stream:
            scratch.chmod(0o600)
            stream.write(json.dumps({"format": FORMAT}) + "\n")
            stream.writelines(f"{entry.line()}\n" for entry in entries)
        scratch.replace(self.path)
        named = {entry.digest for entry in entries}
        for body in self.bodies.iterdir():
            if body.name not in named:
                body.unlink()

    def append(self, environ: Mapping[str, str], body: Body, moment: float, seed: int) -> None:
        """Keeps a request that succeeded; its body, as `receive` gave it, becomes the journal's."""
        if body.incoming is not None:
            body.incoming.replace(self.bodies / body.digest)
        if not self.path.exists():
            self.write([])
        with self.path.open("a", encoding="ascii") as stream:
            stream.write(Entry(moment, seed, environ, body.content, body.digest).line() + "\n")

    @contextmanager
    def receive(self, read: Callable[[int], bytes]) -> Iterator[Body]:
        """A body, read to its end; what `append` did not take is removed afterwards."""
        content = b""
        while len(content) <= INLINE_BYTES:
            chunk = read(_CHUNK)
            if not chunk:
                yield Body(len(content), content)
                return
            content += chunk
        with tempfile.NamedTemporaryFile(dir=self.bodies, prefix=_INCOMING, delete=False) as stream:
            incoming = Path(stream.name)
            try:
                digest, size = hashlib.sha256(), 0
                while content:
                    digest.update(content)
                    size += stream.write(content)
                    content = read(_CHUNK)
                stream.flush()
                yield Body(size, digest=digest.hexdigest(), incoming=incoming)
            finally:
                incoming.unlink(missing_ok=True)

    def body(self, entry: Entry) -> IO[bytes]:
        """The body of a kept request. Raises LocalCloudError where its file is gone."""
        if not entry.digest:
            return io.BytesIO(entry.content)
        try:
            return (self.bodies / entry.digest).open("rb")
        except FileNotFoundError:
            raise LocalCloudError(
                f"{self.bodies / entry.digest}: a part of the kept state is gone; to begin anew: "
                "slipway local start --fresh"
            ) from None


def without_deleted_buckets(entries: list[Entry], bucket_of: Callable[[Entry], tuple[str, bool]]) -> list[Entry]:
    """What is left to do where buckets were deleted since: `bucket_of` gives an entry's bucket, and whether it ends it.

    Each entry has its own seed, so that leaving some out changes nothing of the others.
    """
    gone: set[Any] = set()
    left = []
    for entry in reversed(entries):
        bucket, ends = bucket_of(entry)
        if bucket and ends:
            gone.add(bucket)
        elif bucket not in gone:
            left.append(entry)
    return left[::-1]
