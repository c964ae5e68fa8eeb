"""Between the clients and moto: what changes moto's state is kept in the journal, and done again at the next start."""

from __future__ import annotations

import io
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, quote

from localcloud.gateway import credential_scope
from localcloud.persistence.journal import Entry, Journal, without_deleted_buckets
from localcloud.persistence.repeatable import given

log = logging.getLogger(__name__)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

# Operations that only tell, and those whose effect is not state: messages that were delivered, points of metrics.
_TELLING = re.compile(
    r"^(Get|List|Describe|Head|BatchGet|BatchCheck|Search|Filter|Simulate|Lookup|Test|Encrypt|Decrypt|ReEncrypt|Generate|"
    r"Sign|Verify)"
)
_PASSING = {"Publish", "PublishBatch", "PutMetricData", "PutLogEvents", "SetAlarmState"}
_UNKEPT_SERVICES = {"sts"}
_UNKEPT_HEADERS = {
    "HTTP_CONNECTION",
    "HTTP_EXPECT",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_COOKIE",
    "HTTP_X_AMZ_SECURITY_TOKEN",
    "HTTP_USER_AGENT",
}
_SIGNATURE = re.compile(r"(Signature=)[0-9a-f]+")
_SECRETS_OF_QUERY = re.compile(r"(X-Amz-(?:Signature|Security-Token)=)[^&]*")


class Recorder:
    """A WSGI application in front of moto's. Raises what its journal raises."""

    def __init__(self, moto: Wsgi, journal: Journal) -> None:
        self._moto = moto
        self._journal = journal
        # What changes state is done one at a time, in the journal's order.
        self._one = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS") and "Action=" not in environ["QUERY_STRING"]:
            return self._moto(environ, start_response)
        with self._journal.receive(environ["wsgi.input"].read) as body, body.open() as stream:
            environ = {**environ, "wsgi.input": stream, "CONTENT_LENGTH": str(body.size)}
            # It is whole now, however it came.
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            if not changes_state(environ, body.content):
                return self._moto(environ, start_response)
            status = 500

            def start(line: str, headers: Any, *more: Any) -> Any:
                nonlocal status
                status = int(line.split(" ", 1)[0])
                return start_response(line, headers, *more)

            with self._one:
                moment, seed = time.time(), secrets.randbits(64)
                with given(seed, moment):
                    answer = list(self._moto(environ, start))
                if status < 400:
                    self._journal.append(_kept(environ), body, moment, seed)
            return answer

    def replay(self) -> int:
        """Does again what the journal holds; gives how many requests. Raises LocalCloudError."""
        kept = self._journal.entries()
        entries = without_deleted_buckets(kept, _bucket)
        if len(entries) < len(kept):
            self._journal.write(entries)
        for entry in entries:
            status, answer = self._again(entry)
            if status >= 400:
                what = f"{entry.environ['REQUEST_METHOD']} {entry.environ['PATH_INFO']}"
                log.warning("kept from before, and refused now (%d): %s: %s", status, what, answer[:300])
        return len(entries)

    def _again(self, entry: Entry) -> tuple[int, str]:
        with self._journal.body(entry) as stream, given(entry.seed, entry.moment):
            size = stream.seek(0, io.SEEK_END)
            stream.seek(0)
            return _done(self._moto, {**_base(), **entry.environ, "wsgi.input": stream, "CONTENT_LENGTH": str(size)})

    def put_object(self, bucket: str, key: str, content: bytes, content_type: str) -> bool:
        """S3's PutObject by the server itself; False where it is refused."""
        environ = {
            **_base(),
            "REQUEST_METHOD": "PUT",
            "PATH_INFO": f"/{bucket}/{key}".encode().decode("latin-1"),
            "RAW_URI": f"/{bucket}/{quote(key)}",
            "CONTENT_TYPE": content_type,
            "HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=local/20000101/us-east-1/s3/aws4_request",
            "wsgi.input": io.BytesIO(content),
        }
        return _done(self, environ)[0] < 400


def changes_state(environ: Environ, body: bytes) -> bool:
    """Whether a request to moto is one to do again after a restart. `body` is that of a short request, else empty."""
    service, _ = credential_scope(environ.get("HTTP_AUTHORIZATION", ""), parse_qs(environ["QUERY_STRING"]))
    if service in _UNKEPT_SERVICES:
        return False
    if service == "s3":
        return environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS")
    operation = _operation(environ, body)
    if not operation:
        return environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS")
    return operation not in _PASSING and not _TELLING.match(operation)


def _operation(environ: Environ, body: bytes) -> str:
    """The operation of AWS's JSON, CBOR and query protocols; "" where none is named."""
    target: str = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rpartition(".")[2]
    found = re.search(r"/operation/(\w+)$", environ["PATH_INFO"])
    if found:
        return found[1]
    for text in (environ["QUERY_STRING"], body.decode("latin-1")):
        found = re.search(r"(?:^|&)Action=(\w+)", text)
        if found:
            return found[1]
    return ""


def _kept(environ: Environ) -> dict[str, str]:
    """The part of a request that is needed to do it again; no signature, and no session's token."""
    kept = {
        name: value
        for name, value in environ.items()
        if isinstance(value, str)
        and (name in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "RAW_URI", "CONTENT_TYPE") or name[:5] == "HTTP_")
        and name not in _UNKEPT_HEADERS
    }
    if "HTTP_AUTHORIZATION" in kept:
        kept["HTTP_AUTHORIZATION"] = _SIGNATURE.sub(r"\g<1>0", kept["HTTP_AUTHORIZATION"])
    kept["QUERY_STRING"] = _SECRETS_OF_QUERY.sub(r"\g<1>0", kept["QUERY_STRING"])
    return kept


def _bucket(entry: Entry) -> tuple[str, bool]:
    """The bucket that a request is about ("" for none), and whether it deletes it."""
    environ = entry.environ
    service, _ = credential_scope(environ.get("HTTP_AUTHORIZATION", ""), {})
    if service != "s3":
        return "", False
    bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
    named = [name for name in parse_qs(environ["QUERY_STRING"], True) if not re.match(r"x-(id$|amz-)", name, re.I)]
    return bucket, environ["REQUEST_METHOD"] == "DELETE" and not key and not named


def _base() -> Environ:
    return {
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _done(application: Wsgi, environ: Environ) -> tuple[int, str]:
    """A request without a client: its status and answer."""
    status = 500

    def start(line: str, _headers: Any, *_more: Any) -> None:
        nonlocal status
        status = int(line.split(" ", 1)[0])

    answer = b"".join(application(environ, start))
    return status, answer.decode(errors="replace")
