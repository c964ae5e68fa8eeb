"""What a transform job does with bytes: files to records, records to requests, answers to one output. Pure.

After https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html and the API's `TransformInput` and
`TransformOutput`. A megabyte is 1024 × 1024 bytes, as it is for endpoints here.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MEGABYTE = 1024 * 1024
MAX_UNPACKED = 2 * 1024**3
"""Bytes of one file, decompressed: it is held in memory."""


class DataError(ValueError):
    """Input that cannot be transformed; the message says where and why."""


@dataclass(frozen=True)
class Batch:
    """Records of one request: `first` is the number of the first of them in its file, from 1."""

    first: int
    records: tuple[bytes, ...]

    @property
    def where(self) -> str:
        last = self.first + len(self.records) - 1
        return f"record {self.first}" if last == self.first else f"records {self.first} to {last}"


def decompressed(content: bytes) -> bytes:
    """Raises DataError for what is not gzip, or more than MAX_UNPACKED."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"it is not whole gzip data, which CompressionType says it is ({error})") from None
    if len(unpacked) > MAX_UNPACKED:
        raise DataError(f"it has more than {MAX_UNPACKED:,} bytes when decompressed")
    return unpacked


def records(content: bytes, by_line: bool) -> list[bytes]:
    """The whole file, or its lines without their ends; lines with nothing on them are none."""
    if not by_line:
        return [content]
    return [line for line in (one.removesuffix(b"\r") for one in content.split(b"\n")) if line.strip()]


def batches(found: Sequence[bytes], together: bool, limit: int) -> Iterator[Batch]:
    """As many records a request as fit into `limit` bytes with newlines between them, or one. Raises DataError."""
    first, group, size = 1, list[bytes](), 0
    for number, record in enumerate(found, start=1):
        if len(record) > limit:
            raise DataError(
                f"record {number} has {len(record):,} bytes, more than MaxPayloadInMB allows ({limit // MEGABYTE})"
            )
        if group and (not together or size + 1 + len(record) > limit):
            yield Batch(first, tuple(group))
            first, group, size = number, [], 0
        size += len(record) + (1 if group else 0)
        group.append(record)
    if group:
        yield Batch(first, tuple(group))


def payload(sent: Sequence[bytes]) -> bytes:
    return b"\n".join(sent)


def assembled(answers: Sequence[bytes], by_line: bool) -> bytes:
    """One output of a file's answers, in order; by line, each ends with a newline, and with no more than one."""
    if not by_line:
        return b"".join(answers)
    return b"".join(answer.rstrip(b"\n") + b"\n" for answer in answers)


def output_key(folder: str, base: str, key: str) -> str:
    """Where the output of an input `key` goes: in `folder` (empty, or with a slash), under what follows `base`."""
    return f"{folder}{key.removeprefix(base)}.out"


def base_of(prefix: str) -> str:
    """What the keys of outputs do not repeat of a prefix of inputs: all up to its last slash."""
    return prefix[: prefix.rfind("/") + 1]


def manifest(content: bytes) -> tuple[str, list[str]]:
    """The prefix and the relative names of a manifest, `[{"prefix": "s3://…"}, "name", …]`. Raises DataError."""
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise DataError(f"the manifest is not JSON: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise DataError("the manifest is not a JSON array of a prefix and names")
    head, *names = entries
    prefix = head.get("prefix") if isinstance(head, dict) else None
    if not isinstance(prefix, str) or not prefix.startswith("s3://"):
        raise DataError('the manifest does not begin with {"prefix": "s3://…"}')
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if wrong or not names:
        raise DataError(
            f"the manifest's names are strings, not {json.dumps(wrong[0])}" if wrong else "it names no file"
        )
    return prefix, names
