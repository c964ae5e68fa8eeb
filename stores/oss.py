"""A bucket of Alibaba Cloud's OSS: V4 signatures, the bucket in the host's name, MD5 and CRC-64 of what is sent.

The environment says who asks (`OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET`, `OSS_SESSION_TOKEN`) and, where the URL
does not, which region (`OSS_REGION`); `OSS_ENDPOINT` takes another way there, for instance the internal one.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stores.bucket import BucketStore, Part, persistently
from stores.store import NoBucket, Stat, StoreError

CONNECTING, WAITING = 5, 60
NONE_THERE = {"NoSuchKey"}
_clients: dict[tuple[str, str | None], Any] = {}


@dataclass(frozen=True)
class OssStore(BucketStore):
    """OSS keeps a CRC-64 of every part and object, which tells a part from another where the ETag may not."""

    scheme = "oss"
    taken = frozenset({"FileAlreadyExists"})
    outdated = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder"})

    def _head(self, key: str) -> Stat | None:
        import alibabacloud_oss_v2 as oss

        try:
            found = self._client().head_object(oss.HeadObjectRequest(bucket=self.bucket, key=key))
        except oss.exceptions.OperationError as error:
            if self._code(error) in NONE_THERE:
                return None
            raise
        return Stat(key, found.content_length, found.last_modified, _bare(found.etag))

    def _read(self, key: str, start: int, size: int, tag: str) -> bytes:
        import alibabacloud_oss_v2 as oss
        import requests

        def read() -> bytes:
            request = oss.GetObjectRequest(
                bucket=self.bucket,
                key=key,
                if_match=f'"{tag}"',
                range_header=f"bytes={start}-{start + size - 1}",
                range_behavior="standard",
            )
            answer = self._client().get_object(request)
            with answer.body as body:
                content: bytes = body.read()
            return content

        try:
            return persistently(read, requests.RequestException)
        except requests.RequestException as error:
            raise StoreError(f"{self.url}: {key}: {error}") from error
        except oss.exceptions.OperationError as error:
            if self._code(error) in NONE_THERE | {"PreconditionFailed"}:
                raise StoreError(f"{self.url}: {key} changed while it was read") from error
            raise

    def _write(self, key: str, data: bytes, replace: bool) -> bool:
        import alibabacloud_oss_v2 as oss

        request = oss.PutObjectRequest(
            bucket=self.bucket, key=key, body=data, content_md5=_md5(data), forbid_overwrite=not replace
        )
        return self._unless_taken(lambda: self._client().put_object(request))

    def _all(self, prefix: str) -> Iterator[Stat]:
        import alibabacloud_oss_v2 as oss

        pages = self._client().list_objects_v2_paginator()
        for page in pages.iter_page(oss.ListObjectsV2Request(bucket=self.bucket, prefix=prefix)):
            for found in page.contents or ():
                yield Stat(found.key, found.size, found.last_modified, _bare(found.etag))

    def _uploads(self, key: str) -> Iterator[str]:
        import alibabacloud_oss_v2 as oss

        pages = self._client().list_multipart_uploads_paginator()
        for page in pages.iter_page(oss.ListMultipartUploadsRequest(bucket=self.bucket, prefix=key)):
            for found in page.uploads or ():
                if found.key == key:
                    yield found.upload_id

    def _begin(self, key: str) -> str:
        import alibabacloud_oss_v2 as oss

        begun = self._client().initiate_multipart_upload(
            oss.InitiateMultipartUploadRequest(bucket=self.bucket, key=key)
        )
        upload: str = begun.upload_id
        return upload

    def _parts(self, key: str, upload: str) -> dict[int, Part]:
        import alibabacloud_oss_v2 as oss

        pages = self._client().list_parts_paginator()
        request = oss.ListPartsRequest(bucket=self.bucket, key=key, upload_id=upload)
        with self._current():
            return {
                found.part_number: Part(found.part_number, _bare(found.etag), found.hash_crc64)
                for page in pages.iter_page(request)
                for found in page.parts or ()
            }

    def _holds(self, part: Part, data: bytes) -> bool:
        if part.checksum is not None:
            return part.checksum == _crc64(data)
        return part.etag.lower() == hashlib.md5(data, usedforsecurity=False).hexdigest()

    def _send(self, key: str, upload: str, number: int, data: bytes) -> Part:
        import alibabacloud_oss_v2 as oss

        request = oss.UploadPartRequest(
            bucket=self.bucket, key=key, upload_id=upload, part_number=number, body=data, content_md5=_md5(data)
        )
        with self._current():
            sent = self._client().upload_part(request)
        return Part(number, _bare(sent.etag), sent.hash_crc64)

    def _complete(self, key: str, upload: str, parts: Sequence[Part], replace: bool) -> bool:
        import alibabacloud_oss_v2 as oss

        made = [oss.UploadPart(part_number=part.number, etag=f'"{part.etag}"') for part in parts]
        request = oss.CompleteMultipartUploadRequest(
            bucket=self.bucket,
            key=key,
            upload_id=upload,
            complete_multipart_upload=oss.CompleteMultipartUpload(parts=made),
            forbid_overwrite=not replace,
        )
        with self._current():
            return self._unless_taken(lambda: self._client().complete_multipart_upload(request))

    def _abort(self, key: str, upload: str) -> None:
        import alibabacloud_oss_v2 as oss

        request = oss.AbortMultipartUploadRequest(bucket=self.bucket, key=key, upload_id=upload)
        self._client().abort_multipart_upload(request)

    def _client(self) -> Any:
        """One a process, region and endpoint: a store itself travels between processes."""
        region = self.region or os.environ.get("OSS_REGION")
        if not region:
            raise StoreError(f"{self.url}: its region is not known: end the URL in ?region=REGION, or set OSS_REGION")
        endpoint = os.environ.get("OSS_ENDPOINT") or None
        if (region, endpoint) not in _clients:
            import alibabacloud_oss_v2 as oss

            config = oss.config.load_default()
            config.region, config.endpoint = region, endpoint
            config.connect_timeout, config.readwrite_timeout = CONNECTING, WAITING
            config.credentials_provider = oss.credentials.EnvironmentVariableCredentialsProvider()
            _clients[region, endpoint] = oss.Client(config)
        return _clients[region, endpoint]

    @contextmanager
    def _told(self) -> Iterator[None]:
        import alibabacloud_oss_v2 as oss

        try:
            yield
        except oss.exceptions.CredentialsEmptyError as error:
            missing = "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET are not set"
            raise StoreError(f"oss://{self.bucket}: {missing}") from error
        except oss.exceptions.BaseError as error:
            kind = NoBucket if self._code(error) == "NoSuchBucket" else StoreError
            raise kind(f"oss://{self.bucket}: {self._said(error)}") from error

    @staticmethod
    def _code(error: Exception) -> str | None:
        return getattr(_cause(error), "code", None)

    @staticmethod
    def _said(error: Exception) -> str:
        cause = _cause(error)
        if code := OssStore._code(error):
            return f"{code}: {(cause.message or '').rstrip('.')} (request {cause.request_id})"
        return str(cause).splitlines()[0]


def _cause(error: Any) -> Any:
    """What went wrong below the operation that the library names."""
    while hasattr(error, "unwrap"):
        error = error.unwrap()
    return error


def _bare(etag: str) -> str:
    return etag.strip('"')


def _md5(data: bytes) -> str:
    """With which OSS refuses what changed on its way; afterwards the name would be taken."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _crc64(data: bytes) -> str:
    from alibabacloud_oss_v2.crc import Crc64

    crc = Crc64(0)
    crc.update(data)
    return str(crc.sum64())
