"""Archives with the same bytes from the same content, packed on all cores: artifacts, and nodes on their way elsewhere.

ISA-L compresses blocks of a fixed size, each with the end of the one before as its dictionary, so the result depends
neither on the number of threads nor on which is done first. Other versions of ISA-L, and other kinds of CPU, may
compress differently; the digests in an artifact's `slipway.json` are of the files and hold everywhere.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

LEVEL = 1
"""Of ISA-L. Weights compress little at any level: 0 grows them, 2 and 3 take longer and gain less than a percent."""
BLOCK = 1024 * 1024
MOST_THREADS = 8
"""More would wait for the one that reads."""


class _Hashed:
    """A file that is hashed as it is written."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self.stream.write(data)

    def flush(self) -> None:
        self.stream.flush()


def pack(files: Mapping[str, bytes | Path], target: Path, threads: int | None = None) -> str:
    """Writes a `.tar.gz`: sorted, no times, no owners, fixed modes. Returns its SHA-256."""
    from isal import igzip_threaded

    threads = threads or min(cores(), MOST_THREADS)
    with target.open("wb") as stream:
        hashed = _Hashed(stream)
        with igzip_threaded.open(  # type: ignore[no-untyped-call]  # isal's own
            hashed, "wb", compresslevel=LEVEL, threads=threads, block_size=BLOCK
        ) as archive:
            for name in sorted(files):
                _add(archive, name, files[name])
            archive.write(bytes(2 * tarfile.BLOCKSIZE))
    return hashed.sha256.hexdigest()


def unpack(source: Path, target: Path) -> None:
    """Unpacks what `pack` wrote into an empty folder, plain files below it and nothing else. Raises ValueError."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            for entry in archive:
                path = (target / entry.name).resolve()
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is None or not path.is_relative_to(target.resolve()):
                    raise ValueError(f"not an archive of ours: it has the entry '{entry.name}'")
                # By hand, since tarfile's own filters are missing before Python 3.11.4, which Debian 12 has.
                path.parent.mkdir(parents=True, exist_ok=True)
                with content, path.open("wb") as stream:
                    shutil.copyfileobj(content, stream, BLOCK)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"not an archive of ours: {error}") from error


def _add(archive: BinaryIO, name: str, content: bytes | Path) -> None:
    """Writes an entry's header and content. By hand, as `tarfile` wants to know positions, which threads have not."""
    entry = tarfile.TarInfo(name)
    entry.mode = 0o644
    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        entry.size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        archive.write(entry.tobuf(tarfile.USTAR_FORMAT))
        shutil.copyfileobj(stream, archive, BLOCK)
        if stream.tell() != entry.size:
            raise OSError(f"{name} changed while it was packed")
    archive.write(bytes(-entry.size % tarfile.BLOCKSIZE))


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
