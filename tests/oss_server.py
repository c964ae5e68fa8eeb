"""An OSS of this machine: buckets in memory behind HTTP, as Alibaba Cloud documents its service.

What it holds clients to: V4 signatures (`oss_signature.py`), the bucket as part of the host's name, 15 minutes of
clock, regions, parts of 100 KB, ETags and orders at completion. What it answers: CRC-64, MD5 ETags, listings page by
page, errors as XML with a request's id, and as the header `x-oss-err` where there can be no body.

Clients reach it as a proxy (`http_proxy`), so that they ask for `http://BUCKET.oss-REGION.aliyuncs.com/…` as they
would on the internet, and no name is looked up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import oss_signature

REGION = "cn-hangzhou"
ACCESS_KEY, SECRET = "LTAI5tTestTestTest", "a-secret-of-tests"
SKEW = timedelta(minutes=15)
LEAST_PART = 100 * 1024
PAGE = 1000

_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0xC96C5795D7870F42 if _byte & 1 else 0)
    _TABLE.append(_byte)


def crc64(data: bytes) -> int:
    """CRC-64 as in ECMA-182, reflected: what OSS says of every object and part."""
    crc = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFFFFFFFFFF


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().upper()


class OssError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, message: str, detail: str = "0002-00000001") -> None:
        super().__init__(message)
        self.status, self.code, self.detail = status, code, detail


@dataclass
class Stored:
    data: bytes
    etag: str
    kind: str = "Normal"
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.crc64 = crc64(self.data)


@dataclass
class Upload:
    key: str
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    parts: dict[int, Stored] = field(default_factory=dict)


@dataclass
class Bucket:
    versioned: bool = False
    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    host: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def bucket(self) -> str:
        return self.host.partition(".")[0]


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class OssServer:
    """`asked` are the requests so far. `before` sees each one first: it may give another one that arrives in its place,
    or raise what is to be answered.
    """

    def __init__(self, *buckets: str) -> None:
        self.buckets = {name: Bucket() for name in buckets}
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], Asked | None] = lambda asked: None
        self.page = PAGE
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    @property
    def variables(self) -> dict[str, str]:
        """Of the environment of a client."""
        proxy = f"http://127.0.0.1:{self.server.server_port}"
        return {
            "OSS_ACCESS_KEY_ID": ACCESS_KEY,
            "OSS_ACCESS_KEY_SECRET": SECRET,
            "OSS_REGION": REGION,
            "OSS_ENDPOINT": f"http://oss-{REGION}.aliyuncs.com",
            "http_proxy": proxy,
            "no_proxy": "127.0.0.1,localhost",
        }

    def sent(self, method: str, part: str | None = None) -> list[Asked]:
        """The requests of a method so far, or those of them that have a parameter."""
        return [one for one in self.asked if one.method == method and (part is None or part in one.query)]

    def answer(self, asked: Asked, raw_query: str) -> Answer:
        asked = self.before(asked) or asked
        with self.lock:
            self.asked.append(asked)
            match = re.fullmatch(rf"(?:([a-z0-9-]+)\.)?oss-({REGION})(-internal)?\.aliyuncs\.com", asked.host)
            if not match:
                raise OssError(403, "AccessDenied", "The bucket you are attempting to access must be addressed using "
                               "the specified endpoint. Please send all future requests to this endpoint.")  # fmt: skip
            self._authenticate(asked, raw_query, match[1])
            if match[1] is None:
                raise OssError(403, "SecondLevelDomainForbidden", "The bucket you are attempting to access must be "
                               "addressed using OSS third level domain.")  # fmt: skip
            bucket = self.buckets.get(match[1])
            if bucket is None:
                raise OssError(404, "NoSuchBucket", "The specified bucket does not exist.", "0015-00000101")
            return self._route(asked, bucket)

    def _authenticate(self, asked: Asked, raw_query: str, bucket: str | None) -> None:
        header = asked.headers.get("authorization")
        if header is None:
            raise OssError(403, "AccessDenied", "You have no right to access this object because of bucket acl.")
        try:
            given = oss_signature.parse(header)
        except ValueError as error:
            raise OssError(400, "InvalidArgument", f"Invalid Authorization header: {error}.", "0002-00000202") from None
        if asked.headers.get("x-oss-content-sha256") != oss_signature.UNSIGNED:
            raise OssError(400, "InvalidArgument", "x-oss-content-sha256 must be UNSIGNED-PAYLOAD.")
        if given.region != REGION:
            message = f"Invalid signing region in Authorization header: expected {REGION}."
            raise OssError(403, "SignatureDoesNotMatch", message, "0002-00000226")
        if given.access_key != ACCESS_KEY:
            raise OssError(403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our "
                           "records.", "0002-00000902")  # fmt: skip
        moment = asked.headers.get("x-oss-date", "")
        try:
            at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise OssError(403, "AccessDenied", "x-oss-date is not valid.") from None
        if abs(datetime.now(UTC) - at) > SKEW or moment[:8] != given.day:
            raise OssError(403, "RequestTimeTooSkewed", "The difference between the request time and the current "
                           "time is too large.", "0002-00000504")  # fmt: skip
        canonical = oss_signature.canonical_request(
            asked.method, bucket, asked.key, raw_query, asked.headers, given.additional
        )
        if not hmac.compare_digest(oss_signature.signature(SECRET, given, moment, canonical), given.signature):
            raise OssError(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the "
                           "signature you provided. Check your key and signing method.", "0002-00000201")  # fmt: skip

    def _route(self, asked: Asked, bucket: Bucket) -> Answer:
        content_md5 = asked.headers.get("content-md5")
        if content_md5 and base64.b64decode(content_md5).hex().upper() != md5(asked.body):
            raise OssError(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
        query = asked.query
        routes: dict[tuple[str, bool, str], Callable[[Asked, Bucket], Answer]] = {
            ("GET", False, "uploads"): self._list_uploads,
            ("GET", False, "list-type"): self._list_objects,
            ("POST", True, "uploads"): self._begin,
            ("PUT", True, "uploadId"): self._upload_part,
            ("GET", True, "uploadId"): self._list_parts,
            ("POST", True, "uploadId"): self._complete,
            ("DELETE", True, "uploadId"): self._abort,
        }
        for (method, on_object, parameter), serve in routes.items():
            if (asked.method, bool(asked.key)) == (method, on_object) and parameter in query:
                return serve(asked, bucket)
        plain = {"PUT": self._put, "GET": self._get, "HEAD": self._get}
        if asked.key and not query and asked.method in plain:
            return plain[asked.method](asked, bucket)
        raise OssError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")

    def _put(self, asked: Asked, bucket: Bucket) -> Answer:
        _refuse_overwriting(asked, bucket)
        stored = Stored(asked.body, md5(asked.body))
        bucket.objects[asked.key] = stored
        return Answer(headers=_told(stored))

    def _get(self, asked: Asked, bucket: Bucket) -> Answer:
        stored = bucket.objects.get(asked.key)
        if stored is None:
            raise OssError(404, "NoSuchKey", "The specified key does not exist.", "0026-00000001")
        wanted = asked.headers.get("if-match")
        if wanted and wanted.strip('"') != stored.etag:
            raise OssError(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
        headers = _told(stored) | {
            "Last-Modified": format_datetime(stored.modified, usegmt=True),
            "x-oss-object-type": stored.kind,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        total = len(stored.data)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
        if not span:
            return Answer(200, stored.data, headers)
        start, end = int(span[1]), int(span[2] or total - 1)
        standard = asked.headers.get("x-oss-range-behavior") == "standard"
        if start >= total and standard:
            raise OssError(416, "InvalidRange", "The requested range cannot be satisfied.")
        if end >= total and not standard:  # the range is ignored then
            return Answer(200, stored.data, headers)
        part = stored.data[start : end + 1]
        return Answer(206, part, headers | {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{total}"})

    def _begin(self, asked: Asked, bucket: Bucket) -> Answer:
        upload = secrets.token_hex(16).upper()
        bucket.uploads[upload] = Upload(asked.key)
        return _xml("InitiateMultipartUploadResult", asked, Bucket=asked.bucket, Key=asked.key, UploadId=upload)

    def _upload_part(self, asked: Asked, bucket: Bucket) -> Answer:
        upload = _upload(asked, bucket)
        number = int(asked.query.get("partNumber", 0))
        if not 1 <= number <= 10000:
            raise OssError(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive.")
        part = Stored(asked.body, md5(asked.body))
        upload.parts[number] = part
        return Answer(headers=_told(part))

    def _list_parts(self, asked: Asked, bucket: Bucket) -> Answer:
        upload = _upload(asked, bucket)
        after = int(asked.query.get("part-number-marker") or 0)
        numbers = sorted(number for number in upload.parts if number > after)
        shown = numbers[: int(asked.query.get("max-parts") or self.page)]
        parts = "".join(
            _element("Part", PartNumber=number, ETag=f'"{part.etag}"', Size=len(part.data),
                     HashCrc64ecma=part.crc64, LastModified=_iso(part.modified))
            for number in shown
            for part in [upload.parts[number]]
        )  # fmt: skip
        return _xml(
            "ListPartsResult",
            asked,
            parts,
            Bucket=asked.bucket,
            Key=asked.key,
            UploadId=asked.query["uploadId"],
            PartNumberMarker=after,
            NextPartNumberMarker=shown[-1] if shown else after,
            MaxParts=self.page,
            IsTruncated=len(shown) < len(numbers),
        )

    def _complete(self, asked: Asked, bucket: Bucket) -> Answer:
        upload = _upload(asked, bucket)
        try:
            root = ElementTree.fromstring(asked.body)  # noqa: S314  # a test's own client wrote it
            wanted = [(int(str(part.findtext("PartNumber"))), str(part.findtext("ETag"))) for part in root]
        except (ElementTree.ParseError, ValueError):
            raise OssError(400, "MalformedXML", "The XML you provided was not well-formed.") from None
        numbers = [number for number, _ in wanted]
        if numbers != sorted(set(numbers)):
            raise OssError(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        if not wanted or any(
            number not in upload.parts or upload.parts[number].etag != etag.strip('"').upper()
            for number, etag in wanted
        ):
            raise OssError(400, "InvalidPart", "One or more of the specified parts could not be found or the specified "
                           "entity tag might not have matched the part's entity tag.", "0042-00000212")  # fmt: skip
        parts = [upload.parts[number] for number in numbers]
        if any(len(part.data) < LEAST_PART for part in parts[:-1]):
            raise OssError(400, "EntityTooSmall", "Your proposed upload smaller than the minimum allowed size.",
                           "0042-00000213")  # fmt: skip
        _refuse_overwriting(asked, bucket)
        del bucket.uploads[asked.query["uploadId"]]
        digests = b"".join(bytes.fromhex(part.etag) for part in parts)
        stored = Stored(b"".join(part.data for part in parts), f"{md5(digests)}-{len(parts)}", "Multipart")
        bucket.objects[asked.key] = stored
        answer = _xml("CompleteMultipartUploadResult", asked, Bucket=asked.bucket, Key=asked.key,
                      Location=f"http://{asked.host}/{quote(asked.key)}", ETag=f'"{stored.etag}"')  # fmt: skip
        answer.headers |= _told(stored)
        return answer

    def _abort(self, asked: Asked, bucket: Bucket) -> Answer:
        _upload(asked, bucket)
        del bucket.uploads[asked.query["uploadId"]]
        return Answer(204)

    def _list_objects(self, asked: Asked, bucket: Bucket) -> Answer:
        prefix, after = asked.query.get("prefix", ""), asked.query.get("start-after", "")
        token = asked.query.get("continuation-token")
        if token:
            after = base64.b64decode(token).decode()
        keys = sorted(key for key in bucket.objects if key.startswith(prefix) and key > after)
        shown = keys[: int(asked.query.get("max-keys") or min(self.page, 100))]
        contents = "".join(
            _element("Contents", Key=_encoded(asked, key), LastModified=_iso(stored.modified),
                     ETag=f'"{stored.etag}"', Type=stored.kind, Size=len(stored.data), StorageClass="Standard")
            for key in shown
            for stored in [bucket.objects[key]]
        )  # fmt: skip
        more: dict[str, Any] = {}
        if len(shown) < len(keys):
            more["NextContinuationToken"] = base64.b64encode(shown[-1].encode()).decode()
        return _xml(
            "ListBucketResult",
            asked,
            contents,
            Name=asked.bucket,
            Prefix=_encoded(asked, prefix),
            MaxKeys=self.page,
            KeyCount=len(shown),
            IsTruncated=len(shown) < len(keys),
            **more,
        )

    def _list_uploads(self, asked: Asked, bucket: Bucket) -> Answer:
        prefix = asked.query.get("prefix", "")
        after = (asked.query.get("key-marker", ""), asked.query.get("upload-id-marker", ""))
        found = sorted((one.key, name) for name, one in bucket.uploads.items() if one.key.startswith(prefix))
        found = [one for one in found if one > after]
        shown = found[: self.page]
        uploads = "".join(
            _element("Upload", Key=_encoded(asked, key), UploadId=name, Initiated=_iso(bucket.uploads[name].begun))
            for key, name in shown
        )
        last = shown[-1] if shown else ("", "")
        return _xml(
            "ListMultipartUploadsResult",
            asked,
            uploads,
            Bucket=asked.bucket,
            Prefix=_encoded(asked, prefix),
            NextKeyMarker=_encoded(asked, last[0]),
            NextUploadIdMarker=last[1],
            MaxUploads=self.page,
            IsTruncated=len(shown) < len(found),
        )


@contextmanager
def running(*buckets: str) -> Iterator[OssServer]:
    server = OssServer(*buckets)
    server.thread.start()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()
        server.thread.join()


def _refuse_overwriting(asked: Asked, bucket: Bucket) -> None:
    value = asked.headers.get("x-oss-forbid-overwrite", "false")
    if value not in ("true", "false"):
        raise OssError(400, "InvalidArgument", "x-oss-forbid-overwrite must be true or false.", "0017-00000279")
    # A versioned bucket keeps what is overwritten, and does not heed the header.
    if value == "true" and not bucket.versioned and asked.key in bucket.objects:
        raise OssError(409, "FileAlreadyExists", "The object you specified already exists and can not be overwritten.",
                       "0026-00000002")  # fmt: skip


def _upload(asked: Asked, bucket: Bucket) -> Upload:
    upload = bucket.uploads.get(asked.query["uploadId"])
    if upload is None or upload.key != asked.key:
        raise OssError(404, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the "
                       "upload may have been aborted or completed.", "0042-00000002")  # fmt: skip
    return upload


def _told(stored: Stored) -> dict[str, str]:
    return {"ETag": f'"{stored.etag}"', "x-oss-hash-crc64ecma": str(stored.crc64)}


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _encoded(asked: Asked, text: str) -> str:
    return quote(text, safe="") if asked.query.get("encoding-type") == "url" else text


def _element(tag: str, inner: str = "", **values: Any) -> str:
    lines = "".join(
        f"<{name}>{escape(str(value).lower() if isinstance(value, bool) else str(value))}</{name}>"
        for name, value in values.items()
    )
    return f"<{tag}>{lines}{inner}</{tag}>"


def _xml(tag: str, asked: Asked, inner: str = "", **values: Any) -> Answer:
    if asked.query.get("encoding-type") == "url":
        values = {"EncodingType": "url"} | values
        if "Key" in values:
            values["Key"] = quote(values["Key"], safe="")
    body = '<?xml version="1.0" encoding="UTF-8"?>\n' + _element(tag, inner, **values)
    return Answer(body=body.encode(), headers={"Content-Type": "application/xml"})


def _handler(server: OssServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "AliyunOSS", ""
        disable_nagle_algorithm = True

        def serve(self) -> None:
            request_id = secrets.token_hex(12).upper()
            parts = urlsplit(self.path)  # a proxy gets the whole URL
            host = parts.netloc or self.headers.get("Host", "")
            asked = Asked(
                self.command,
                host,
                unquote(parts.path)[1:],
                dict(parse_qsl(parts.query, keep_blank_values=True)),
                {name.lower(): value for name, value in self.headers.items()},
                self._content(),
            )
            try:
                answer = server.answer(asked, parts.query)
            except OssError as error:
                answer = self._error(error, host, request_id)
            self.send_response(answer.status)
            for name, value in {"x-oss-request-id": request_id, **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

        def _content(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def _error(self, error: OssError, host: str, request_id: str) -> Answer:
            body = _element(
                "Error",
                Code=error.code,
                Message=error,
                RequestId=request_id,
                HostId=host,
                EC=error.detail,
                RecommendDoc=f"https://api.alibabacloud.com/troubleshoot?q={error.detail}",
            ).encode()
            headers = {"Content-Type": "application/xml", "x-oss-ec": error.detail}
            if self.command == "HEAD":
                headers["x-oss-err"] = base64.b64encode(body).decode()
            return Answer(error.status, body, headers)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler
