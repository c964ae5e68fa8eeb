from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from localcloud.asgi import Receive, Request, Response, Scope, Send
from localcloud.gateway import INVOCATION_LIMIT, Gateway, bucket_of_host, credential_scope, is_loopback_name

SIGNED = "AWS4-HMAC-SHA256 Credential=test/20261124/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=0"


async def moto(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"moto {scope['path']}".encode()})


def named(name: str) -> Any:
    async def handler(request: Request) -> Response:
        if request.body == b"fail":
            raise RuntimeError("a bug")
        return Response(200, f"{name} {request.region}".encode())

    return handler


def call(method: str, path: str, *parts: bytes, **headers: str) -> tuple[int, str]:
    gateway = Gateway(moto, frozenset({"s3", "iam"}), *(named(name) for name in ("control", "runtime", "page", "more")))
    raw = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()
    ]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": raw}
    incoming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    incoming.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(gateway(scope, receive, send))
    return sent[0]["status"], sent[1]["body"].decode()


@pytest.mark.parametrize(
    ("method", "path", "headers", "answer"),
    [
        (
            "POST",
            "/",
            {"authorization": SIGNED.format("sagemaker"), "x-amz-target": "SageMaker.X"},
            "control eu-west-1",
        ),
        ("POST", "/", {"x-amz-target": "SageMaker.X"}, "control us-east-1"),
        ("POST", "/endpoints/e/invocations", {"authorization": SIGNED.format("sagemaker")}, "runtime eu-west-1"),
        ("POST", "/endpoints/e/invocations", {}, "runtime us-east-1"),
        ("PUT", "/endpoints/e/invocations", {}, "moto /endpoints/e/invocations"),
        ("POST", "/endpoints/e/invocations", {"authorization": SIGNED.format("s3")}, "moto /endpoints/e/invocations"),
        ("GET", "/_slipway/status", {}, "page us-east-1"),
        ("GET", "/bucket/key", {}, "moto /bucket/key"),
        ("POST", "/", {"authorization": SIGNED.format("iam")}, "moto /"),
        ("GET", "/key", {"host": "bucket.localhost:4566"}, "moto /bucket/key"),
        (
            "POST",
            "/",
            {"authorization": SIGNED.format("x"), "x-amz-target": "AnyScaleFrontendService.PutScalingPolicy"},
            "more eu-west-1",
        ),
    ],
)
def test_a_request_reaches_the_service_that_it_names(method: str, path: str, headers: Any, answer: str) -> None:
    assert call(method, path, **headers) == (200, answer)


def test_an_unknown_service_is_refused_with_the_known_ones() -> None:
    status, body = call("POST", "/", authorization=SIGNED.format("dynamodb"))
    assert status == 501
    assert (
        json.loads(body)["message"]
        == "The local AWS has no service 'dynamodb'. It has: application-autoscaling, iam, s3, sagemaker."
    )


def test_a_body_over_the_limit_is_refused_however_it_arrives() -> None:
    half = b"x" * (INVOCATION_LIMIT // 2)
    assert call("POST", "/endpoints/e/invocations", half, half)[0] == 200
    status, body = call("POST", "/endpoints/e/invocations", half, half, b"x")
    assert (status, json.loads(body)["__type"]) == (413, "ValidationError")


def test_a_fault_of_ours_is_an_internal_failure_and_tells_nothing() -> None:
    status, body = call("POST", "/endpoints/e/invocations", b"fail")
    assert (status, json.loads(body)["__type"]) == (500, "InternalFailure")
    assert "a bug" not in body


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:4566", True),
        ("LOCALHOST:1", True),
        ("[::1]:80", True),
        ("a.b.localhost", True),
        ("", False),
        ("127.0.0.1.nip.example", False),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("xlocalhost", False),
    ],
)
def test_only_names_of_this_machine_are_loopback(host: str, own: bool) -> None:
    assert is_loopback_name(host) is own


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("localhost", None),
        ("127.0.0.1:4566", None),
        ("models.localhost", "models"),
        ("my.models.s3.localhost:1", "my.models"),
        ("models.s3.us-east-1.localhost", "models"),
        ("s3.localhost", None),
    ],
)
def test_a_bucket_is_read_from_the_host(host: str, bucket: str | None) -> None:
    assert bucket_of_host(host) == bucket


def test_a_presigned_request_names_its_service_in_the_query() -> None:
    query = {"X-Amz-Credential": ["test/20261124/us-west-2/s3/aws4_request"]}
    assert credential_scope("", query) == ("s3", "us-west-2")
    assert credential_scope("", {}) == (None, "us-east-1")
