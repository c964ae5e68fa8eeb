"""A bucket of S3, with the account, region and endpoint of the environment, as boto3 finds them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stores.bucket import BucketStore, Part, persistently
from stores.store import NoBucket, Stat, StoreError

CONNECTING, WAITING = 5, 60
"""Seconds that a connection and an answer may take: a build does better without its cache than to wait for it."""
NONE_THERE = {"404", "NoSuchKey"}
_clients: dict[str | None, Any] = {}


@dataclass(frozen=True)
class S3Store(BucketStore):
    """Parts carry their SHA-256, which S3 checks and keeps: the ETag of an encrypted part need not be its MD5."""

    scheme = "s3"
    taken = frozenset({"412", "PreconditionFailed"})
    outdated = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "ConditionalRequestConflict"})

    def _head(self, key: str) -> Stat | None:
        try:
            found = self._client().head_object(Bucket=self.bucket, Key=key)
        except Exception as error:
            if self._code(error) in NONE_THERE:
                return None
            raise
        return Stat(key, found["ContentLength"], found["LastModified"], _bare(found["ETag"]))

    def _read(self, key: str, start: int, size: int, tag: str) -> bytes:
        from botocore.exceptions import HTTPClientError

        def read() -> bytes:
            answer = self._client().get_object(
                Bucket=self.bucket, Key=key, Range=f"bytes={start}-{start + size - 1}", IfMatch=f'"{tag}"'
            )
            content: bytes = answer["Body"].read()
            return content

        try:
            return persistently(read, HTTPClientError)
        except Exception as error:
            if self._code(error) in self.taken | NONE_THERE:
                raise StoreError(f"{self.url}: {key} changed while it was read") from error
            raise

    def _write(self, key: str, data: bytes, replace: bool) -> bool:
        with self._current():
            return self._unless_taken(
                lambda: self._client().put_object(
                    Bucket=self.bucket, Key=key, Body=data, ChecksumSHA256=_sha256(data), **_condition(replace)
                )
            )

    def _all(self, prefix: str) -> Iterator[Stat]:
        for page in self._client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield Stat(found["Key"], found["Size"], found["LastModified"], _bare(found["ETag"]))

    def _uploads(self, key: str) -> Iterator[str]:
        for page in self._client().get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=key):
            for found in page.get("Uploads", ()):
                if found["Key"] == key:
                    yield found["UploadId"]

    def _begin(self, key: str) -> str:
        begun = self._client().create_multipart_upload(Bucket=self.bucket, Key=key, ChecksumAlgorithm="SHA256")
        upload: str = begun["UploadId"]
        return upload

    def _parts(self, key: str, upload: str) -> dict[int, Part]:
        with self._current():
            pages = self._client().get_paginator("list_parts").paginate(Bucket=self.bucket, Key=key, UploadId=upload)
            return {
                found["PartNumber"]: Part(found["PartNumber"], _bare(found["ETag"]), found.get("ChecksumSHA256"))
                for page in pages
                for found in page.get("Parts", ())
            }

    def _holds(self, part: Part, data: bytes) -> bool:
        if part.checksum is not None:
            return part.checksum == _sha256(data)
        return part.etag == hashlib.md5(data, usedforsecurity=False).hexdigest()

    def _send(self, key: str, upload: str, number: int, data: bytes) -> Part:
        checksum = _sha256(data)
        with self._current():
            sent = self._client().upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=data, ChecksumSHA256=checksum
            )
        return Part(number, _bare(sent["ETag"]), checksum)

    def _complete(self, key: str, upload: str, parts: Sequence[Part], replace: bool) -> bool:
        made = [
            {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
            | ({"ChecksumSHA256": part.checksum} if part.checksum else {})
            for part in parts
        ]
        with self._current():
            return self._unless_taken(
                lambda: self._client().complete_multipart_upload(
                    Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": made}, **_condition(replace)
                )
            )

    def _abort(self, key: str, upload: str) -> None:
        self._client().abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)

    def _client(self) -> Any:
        """One a process and region: a store itself travels between processes."""
        if self.region not in _clients:
            import boto3
            from botocore.config import Config

            patience = Config(connect_timeout=CONNECTING, read_timeout=WAITING, retries={"total_max_attempts": 3})
            _clients[self.region] = boto3.client("s3", region_name=self.region, config=patience)
        return _clients[self.region]

    @contextmanager
    def _told(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (Boto3Error, BotoCoreError, ClientError) as error:
            kind = NoBucket if self._code(error) == "NoSuchBucket" else StoreError
            raise kind(f"s3://{self.bucket}: {self._said(error)}") from error

    @staticmethod
    def _code(error: Exception) -> str | None:
        from botocore.exceptions import ClientError

        return error.response["Error"]["Code"] if isinstance(error, ClientError) else None

    @staticmethod
    def _said(error: Exception) -> str:
        return str(error).splitlines()[0]


def _condition(replace: bool) -> dict[str, str]:
    """That the name is free, unless what has it is to be replaced."""
    return {} if replace else {"IfNoneMatch": "*"}


def _bare(etag: str) -> str:
    return etag.strip('"')


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
