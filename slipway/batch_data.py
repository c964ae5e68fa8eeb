"""Inputs and outputs of a batch transform: files of this machine to S3 and back, and what lies in S3 already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_build.errors import UserError

SCHEME = "s3://"
SUFFIX = ".out"


@dataclass(frozen=True)
class Inputs:
    """What a job reads: all keys with a prefix. `base` is what the keys of outputs do not repeat of them."""

    bucket: str
    prefix: str
    sizes: Mapping[str, int]
    """Bytes of each key."""

    @property
    def uri(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"

    @property
    def base(self) -> str:
        return self.prefix[: self.prefix.rfind("/") + 1]

    def outputs(self) -> list[str]:
        """Names of the outputs, below the job's folder of outputs."""
        return [f"{key.removeprefix(self.base)}{SUFFIX}" for key in self.sizes]


def is_address(text: str) -> bool:
    """Whether it is an address in S3, and no path. Raises UserError for one of another store."""
    if "://" in text and not text.startswith(SCHEME):
        raise UserError(f"{text}: batch transform reads and writes S3", "give s3://BUCKET/PREFIX/, or a file or folder")
    return text.startswith(SCHEME)


def split(address: str) -> tuple[str, str]:
    """(bucket, key or prefix). Raises UserError."""
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise UserError(f"{address} names no bucket", "write s3://BUCKET/PREFIX/")
    return bucket, key


@contextmanager
def reached(what: str) -> Iterator[None]:
    """Turns what S3 says into an error for people."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, S3UploadFailedError) as error:
        said = error.response["Error"].get("Message", error) if isinstance(error, ClientError) else error
        raise UserError(f"{what}: {said}", "is the address right, and may you reach it?") from None
    except BotoCoreError as error:
        raise UserError(f"{what}: {error}", "are the cloud and its credentials reachable?") from None


def found(s3: Any, address: str) -> Inputs:
    """What lies at an address. Raises UserError where that is nothing."""
    bucket, prefix = split(address)
    with reached(address):
        sizes = {key: size for key, size in _listed(s3, bucket, prefix) if not key.endswith("/")}
    if not sizes:
        raise UserError(f"{address}: there is nothing whose key begins so", "look: aws s3 ls " + address)
    return Inputs(bucket, prefix, sizes)


def _listed(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Contents", []):
            yield one["Key"], one["Size"]


def local_files(path: Path) -> dict[str, Path]:
    """Name → file: the one, or all of a folder but hidden ones. Raises UserError where there are none."""
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise UserError(f"{path}: there is no such file or folder", "give one, or s3://BUCKET/PREFIX/")
    files = {
        one.relative_to(path).as_posix(): one
        for one in sorted(path.rglob("*"))
        if one.is_file() and not any(part.startswith(".") for part in one.relative_to(path).parts)
    }
    if not files:
        raise UserError(f"{path}: there are no files in it", "give a folder with files")
    return files


def uploaded(
    s3: Any, files: Mapping[str, Path], bucket: str, prefix: str, progress: Callable[[str], None] = lambda text: None
) -> Inputs:
    """Puts files below a prefix that ends with a slash. Raises UserError."""
    sizes = {}
    for number, (name, path) in enumerate(files.items(), start=1):
        progress(f"{number} of {len(files)}: {name}")
        with reached(f"{path} to {SCHEME}{bucket}"):
            s3.upload_file(str(path), bucket, f"{prefix}{name}")
        sizes[f"{prefix}{name}"] = path.stat().st_size
    return Inputs(bucket, prefix, sizes)


def written(s3: Any, target: str, names: Sequence[str]) -> dict[str, int]:
    """Which outputs are there, each with its bytes. Raises UserError."""
    bucket, folder = split(target)
    folder = f"{folder.rstrip('/')}/" if folder.rstrip("/") else ""
    wanted = {f"{folder}{name}": name for name in names}
    with reached(target):
        return {wanted[key]: size for key, size in _listed(s3, bucket, folder) if key in wanted}


def require_free(folder: Path, names: Sequence[str]) -> None:
    """Raises UserError where outputs would replace files."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file", "give a folder for the outputs")
    taken = [name for name in names if (folder / name).exists()]
    if taken:
        raise UserError(f"{folder / taken[0]} exists already", "remove it, or give another folder")


def brought(s3: Any, target: str, names: Sequence[str], folder: Path) -> None:
    """Downloads outputs by their names. Raises UserError."""
    bucket, prefix = split(target)
    for name in names:
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"the output {name} would be written outside of {folder}", f"it is at {target}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with reached(f"{target} to {folder}"):
            s3.download_file(bucket, f"{prefix.rstrip('/')}/{name}", str(path))
