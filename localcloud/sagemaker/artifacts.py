"""A model's data, from S3 to a directory: downloaded, verified, unpacked once and shared by digest.

Apart because it handles bytes of strangers: every limit on them is here.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import Any

from localcloud import emulation
from localcloud.sagemaker.catalog import split_s3_uri

MAX_UNPACKED_BYTES = 20 * 10**9
MAX_MEMBERS = 50_000


class ArtifactError(Exception):
    """Model data that cannot be used; the message names its address and what is wrong, as a failure reason does."""


class ArtifactStore:
    """Unpacked model data under `directory`, one folder a digest."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def obtain(self, container: dict[str, Any]) -> Path:
        """The directory of a container's model data. Blocks while it downloads and unpacks. Raises ArtifactError."""
        source = container.get("ModelDataSource", {}).get("S3DataSource", {})
        uri = source.get("S3Uri") or container["ModelDataUrl"]
        self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=".incoming-") as scratch:
            content = Path(scratch) / "content"
            content.mkdir()
            try:
                if source.get("S3DataType") == "S3Prefix":
                    digest = self._copy_prefix(uri, content)
                else:
                    archive = Path(scratch) / "model.tar.gz"
                    digest = self._download(uri, archive)
                    target = self.directory / digest
                    if target.is_dir():
                        return target
                    unpack(archive, content, uri)
            except emulation.ObjectMissingError:
                raise ArtifactError(
                    f'Failed to download model data for container "primary" from URL: "{uri}". Please ensure that '
                    "there is an object located at the URL."
                ) from None
            return self._publish(content, self.directory / digest)

    def _download(self, uri: str, archive: Path) -> str:
        bucket, key = split_s3_uri(uri)
        with archive.open("w+b") as stream:
            emulation.read_object(bucket, key, stream)
            stream.seek(0)
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _copy_prefix(self, uri: str, content: Path) -> str:
        bucket, prefix = split_s3_uri(uri)
        digest = hashlib.sha256()
        keys = [key for key in emulation.list_objects(bucket, prefix) if not key.endswith("/")]
        if not keys:
            raise emulation.ObjectMissingError(uri)
        for key in keys:
            name = key.removeprefix(prefix).lstrip("/") or key.rpartition("/")[2]
            path = content / name
            if not path.resolve().is_relative_to(content.resolve()):
                raise ArtifactError(
                    f'The key "{key}" under "{uri}" would be written outside of the model\'s directory.'
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w+b") as stream:
                emulation.read_object(bucket, key, stream)
                stream.seek(0)
                digest.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest()

    def _publish(self, content: Path, target: Path) -> Path:
        try:
            content.rename(target)
        except OSError:
            # Another endpoint published the same digest meanwhile.
            if not target.is_dir():
                raise
        return target

    def discard_leftovers(self) -> None:
        """Removes what a killed server left half unpacked."""
        for leftover in self.directory.glob(".incoming-*"):
            shutil.rmtree(leftover)


class UnsafeMemberError(Exception):
    """A member of an archive that must not be written."""


def unpack(archive: Path, target: Path, uri: str) -> None:
    """Unpacks a `.tar.gz` safely: nothing outside of `target`, no device, no bomb. Raises ArtifactError."""
    try:
        with gzip.open(archive, "rb") as stream:
            _extract(stream, target)
            # The checksum at the end of the stream is only verified by whoever reads that far.
            while stream.read(1 << 20):
                pass
    except EOFError:
        size = archive.stat().st_size
        raise _bad_archive(uri, f"it is truncated: the compressed data ends early, after {size:,} bytes") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _bad_archive(uri, f"its compressed data is damaged ({error})") from None
    except UnsafeMemberError as error:
        raise _bad_archive(uri, f"it has a member that is not safe to unpack ({error})") from None
    except tarfile.TarError as error:
        raise _bad_archive(uri, f"it is not a tar archive, or truncated ({error})") from None


def _extract(stream: gzip.GzipFile, target: Path) -> None:
    members = 0
    size = 0
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            members += 1
            size += member.size
            if members > MAX_MEMBERS or size > MAX_UNPACKED_BYTES:
                raise tarfile.ReadError(f"more than {MAX_MEMBERS} members or {MAX_UNPACKED_BYTES:,} bytes")
            _write(tar, member, target)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Writes one member: a plain file or a folder below `target`, with modes of our own.

    By hand, since `tarfile`'s own filters are missing before Python 3.11.4, which Debian 12 has.
    """
    path = (target / member.name).resolve()
    if not path.is_relative_to(target.resolve()):
        raise UnsafeMemberError(f"'{member.name}' would be written outside of the destination")
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise UnsafeMemberError(f"'{member.name}' is neither a file nor a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("wb") as stream:
        shutil.copyfileobj(content, stream)


def _bad_archive(uri: str, problem: str) -> ArtifactError:
    return ArtifactError(
        f'Failed to extract model data archive for container "primary" from URL "{uri}": {problem}. '
        "Please ensure that the object located at the URL is a valid tar.gz archive."
    )
