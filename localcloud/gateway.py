"""The front of the one port: guards the door, then sends each request to the service that it names.

AWS gives every service a host of its own; on one loopback port the service is in the signature's credential scope.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import urlsplit

from localcloud.asgi import (
    Application,
    BodyTooLargeError,
    ClientGoneError,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    StreamResponse,
    headers_of,
    json_response,
    query_of,
    read_body,
    send_response,
    send_stream,
)
from localcloud.errors import AwsError

Handler = Callable[[Request], Awaitable[Response | StreamResponse]]

DEFAULT_REGION = "us-east-1"
INVOCATION_LIMIT = 6 * 1024 * 1024  # bytes of a real-time invocation, AWS's limit
CONTROL_LIMIT = 4 * 1024 * 1024
RUNTIME_PATH = re.compile(r"^/endpoints/([^/]+)/(invocations|invocations-response-stream|async-invocations)$")

_LOOPBACK_NAME = re.compile(r"^(127\.0\.0\.1|\[::1\]|localhost|(?P<subdomain>[a-z0-9.-]+)\.localhost)$", re.IGNORECASE)
_CREDENTIAL = re.compile(r"Credential=[^/,\s]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")

log = logging.getLogger(__name__)


def host_name(host: str) -> str:
    """The host of a `Host` header without its port."""
    return re.sub(r":\d*$", "", host)


def is_loopback_name(host: str) -> bool:
    """Whether a `Host` header names this machine itself: another name means DNS rebinding."""
    return _LOOPBACK_NAME.match(host_name(host)) is not None


def is_own_origin(origin: str) -> bool:
    """Whether a page that makes a request comes from this machine; any other page has no business here."""
    return is_loopback_name(urlsplit(origin).netloc)


def credential_scope(authorization: str, query: dict[str, list[str]]) -> tuple[str | None, str]:
    """(signing name, region) of a SigV4 request, in its header or presigned; (None, default) where unsigned."""
    presigned = query.get("X-Amz-Credential", [""])[0]
    found = _CREDENTIAL.search(authorization) or _CREDENTIAL.search(f"Credential={presigned}")
    if found is None:
        return None, DEFAULT_REGION
    return found["service"].lower(), found["region"]


def bucket_of_host(host: str) -> str | None:
    """The bucket in `BUCKET.localhost` or `BUCKET.s3….localhost`: clients of `http://localhost` address S3 so."""
    found = _LOOPBACK_NAME.match(host_name(host))
    subdomain = found["subdomain"] if found else None
    if subdomain is None:
        return None
    bucket = re.sub(r"(^|\.)s3([.-][a-z0-9.-]+)?$", "", subdomain)
    return bucket or None


class Gateway:
    """ASGI application of the whole server."""

    def __init__(
        self,
        moto: Application,
        moto_services: frozenset[str],
        control: Handler,
        runtime: Handler,
        page: Handler,
        autoscaling: Handler,
    ) -> None:
        self.moto = moto
        self.moto_services = moto_services
        self.control = control
        self.runtime = runtime
        self.page = page
        self.autoscaling = autoscaling

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        headers = headers_of(scope)
        refusal = self._refusal(headers)
        if refusal is not None:
            await send_response(send, refusal)
            return
        service, region = credential_scope(headers.get("authorization", ""), query_of(scope))
        path: str = scope["path"]
        target = headers.get("x-amz-target", "")
        if path == "/_slipway" or path.startswith("/_slipway/"):
            await self._handle(self.page, CONTROL_LIMIT, region, scope, headers, receive, send)
        elif RUNTIME_PATH.match(path) and service in ("sagemaker", None) and scope["method"] == "POST":
            await self._handle(self.runtime, INVOCATION_LIMIT, region, scope, headers, receive, send)
        elif service == "sagemaker" or (service is None and target.startswith("SageMaker.")):
            await self._handle(self.control, CONTROL_LIMIT, region, scope, headers, receive, send)
        elif service == "application-autoscaling" or target.startswith("AnyScaleFrontendService."):
            await self._handle(self.autoscaling, CONTROL_LIMIT, region, scope, headers, receive, send)
        elif path.startswith("/moto-api"):
            # It resets and reconfigures moto behind the back of what runs here.
            await send_response(send, json_response(404, {"message": "not served here"}))
        elif service is None or service in self.moto_services:
            await self._emulate(service, scope, headers, receive, send)
        else:
            known = ", ".join(sorted(self.moto_services | {"application-autoscaling", "sagemaker"}))
            message = f"The local AWS has no service '{service}'. It has: {known}."
            await send_response(send, AwsError("UnsupportedOperation", message, 501).response())

    def _refusal(self, headers: dict[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not is_loopback_name(host):
            message = f"The host '{host}' is not this machine: use http://127.0.0.1 or http://localhost."
            return AwsError("AccessDeniedException", message, 403).response()
        origin = headers.get("origin")
        if origin is not None and not is_own_origin(origin):
            return AwsError("AccessDeniedException", f"Pages of '{origin}' may not call the local AWS.", 403).response()
        return None

    async def _emulate(
        self, service: str | None, scope: Scope, headers: dict[str, str], receive: Receive, send: Send
    ) -> None:
        bucket = bucket_of_host(headers.get("host", "")) if service in ("s3", None) else None
        if bucket is not None:
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "path": f"/{bucket}{scope['path']}", "headers": [(b"host", b"localhost"), *others]}
        await self.moto(scope, receive, send)

    async def _handle(
        self,
        handler: Handler,
        limit: int,
        region: str,
        scope: Scope,
        headers: dict[str, str],
        receive: Receive,
        send: Send,
    ) -> None:
        path = scope["path"]
        try:
            body = await read_body(receive, limit)
            response: Response | StreamResponse = await handler(Request(scope["method"], path, headers, body, region))
        except ClientGoneError:
            return
        except BodyTooLargeError:
            message = f"Request body exceeds the limit of {limit} bytes."
            response = AwsError("ValidationError", message, 413).response()
        except AwsError as error:
            response = error.response()
        except Exception:
            log.exception("%s %s", scope["method"], path)
            message = "The local AWS failed at this request; its log says why: slipway local logs"
            response = AwsError("InternalFailure", message, 500).response()
        identified = {**response.headers, "x-amzn-requestid": str(uuid.uuid4())}
        if isinstance(response, StreamResponse):
            await send_stream(receive, send, replace(response, headers=identified))
        else:
            await send_response(send, replace(response, headers=identified))
