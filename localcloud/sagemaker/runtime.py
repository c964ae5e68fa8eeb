"""The runtime's API at its real paths: InvokeEndpoint, its response stream, and InvokeEndpointAsync.

A request goes to one of an endpoint's variants, a copy of it to the shadow variant, a sample of it to S3.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import unquote

import aiohttp

from localcloud.asgi import Request, Response, StreamResponse
from localcloud.emulation import ACCOUNT
from localcloud.errors import AwsError, UnsupportedError
from localcloud.gateway import RUNTIME_PATH
from localcloud.sagemaker import eventstream
from localcloud.sagemaker.asynchronous import AsyncInference
from localcloud.sagemaker.control import ControlPlane
from localcloud.sagemaker.endpoint import Endpoint
from localcloud.sagemaker.fleet import Fleet
from localcloud.sagemaker.invoking import ATTRIBUTES, Answer, Invoker, model_error
from localcloud.sagemaker.serverless import PAYLOAD_LIMIT, ServerlessFleet

_VARIANT = "x-amzn-sagemaker-target-variant"
_INFERENCE_ID = "x-amzn-sagemaker-inference-id"
_PASSED_ON = ("content-type", "accept", ATTRIBUTES, _INFERENCE_ID)
_NOT_EMULATED = {
    "x-amzn-sagemaker-target-model": "TargetModel",
    "x-amzn-sagemaker-target-container-hostname": "TargetContainerHostname",
    "x-amzn-sagemaker-enable-explanations": "EnableExplanations",
    "x-amzn-sagemaker-inference-component": "InferenceComponentName",
    "x-amzn-sagemaker-session-id": "SessionId",
    "x-amzn-sagemaker-prefix-aware-id": "PrefixAwareId",
}


class Runtime:
    """Handler of `POST /endpoints/{name}/…`."""

    def __init__(self, control: ControlPlane, invoker: Invoker, asynchronous: AsyncInference) -> None:
        self._control = control
        self._invoker = invoker
        self._asynchronous = asynchronous
        self._shadows: set[asyncio.Task[Any]] = set()

    async def __call__(self, request: Request) -> Response | StreamResponse:
        began = time.perf_counter()
        found = RUNTIME_PATH.match(request.path)
        if found is None:
            raise AwsError("UnknownOperationException", f"There is nothing at {request.path}.", 404)
        for header, member in _NOT_EMULATED.items():
            if header in request.headers:
                raise UnsupportedError(f"The local AWS does not emulate {member} of InvokeEndpoint.")
        endpoint = self._find(request.region, unquote(found[1]))
        if found[2] == "async-invocations":
            return self._asynchronous.accept(endpoint, request)
        if endpoint.asynchronous:
            raise AwsError(
                "ValidationError", f"Endpoint {endpoint.name} is an asynchronous one: use InvokeEndpointAsync."
            )
        fleet = self._choose(endpoint, request.headers.get(_VARIANT))
        if isinstance(fleet, ServerlessFleet) and len(request.body) > PAYLOAD_LIMIT:
            raise AwsError("ValidationError", f"Request body exceeds the limit of {PAYLOAD_LIMIT} bytes.", 413)
        if found[2] == "invocations-response-stream":
            return await self._stream(request, endpoint, fleet, began)
        return await self._invoke(request, endpoint, fleet, began)

    def _find(self, region: str, name: str) -> Endpoint:
        endpoint = self._control.region(region).endpoints.get(name)
        if endpoint is None or not endpoint.serving:
            # AWS says the same of an endpoint that does not exist and of one that never came into service.
            raise AwsError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        return endpoint

    def _choose(self, endpoint: Endpoint, variant: str | None) -> Fleet:
        fleet = endpoint.choose_fleet(variant)
        if fleet is None:
            raise AwsError("ValidationError", f"Variant {variant} of endpoint {endpoint.name} not found.")
        return fleet

    async def _invoke(self, request: Request, endpoint: Endpoint, fleet: Fleet, began: float) -> Response:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        self._copy_to_shadow(request, endpoint, headers)
        answer = await self._invoker.ask(endpoint, fleet, request.body, headers, began)
        if not answer.good:
            raise model_error(endpoint, answer)
        self._capture(request, endpoint, fleet, answer)
        named = {"content-type": answer.content_type, "x-amzn-invoked-production-variant": fleet.variant.name}
        if ATTRIBUTES in answer.headers:
            named[ATTRIBUTES] = answer.headers[ATTRIBUTES]
        return Response(200, answer.body, named)

    def _capture(self, request: Request, endpoint: Endpoint, fleet: Fleet, answer: Answer) -> None:
        capture = endpoint.capture
        if capture is not None and capture.wants_next():
            capture.add(
                fleet.variant.name,
                (request.header("content-type", "application/octet-stream"), request.body),
                (answer.content_type, answer.body),
                endpoint.clock.now(),
                request.headers.get(_INFERENCE_ID),
                request.headers.get(ATTRIBUTES),
            )

    def _copy_to_shadow(self, request: Request, endpoint: Endpoint, headers: dict[str, str]) -> None:
        """Sends a copy that nobody waits for; its answer is measured and dropped."""
        shadow = endpoint.next_shadow()
        if shadow is None or not shadow.healthy:
            return
        copy = self._ask_shadow(endpoint, shadow, request.body, headers)
        task = asyncio.get_running_loop().create_task(copy)
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _ask_shadow(self, endpoint: Endpoint, shadow: Fleet, body: bytes, headers: dict[str, str]) -> None:
        try:
            await self._invoker.ask(endpoint, shadow, body, headers, time.perf_counter())
        except AwsError:
            # No replica could take it: a shadow's trouble is never the client's.
            return

    async def _stream(self, request: Request, endpoint: Endpoint, fleet: Fleet, began: float) -> StreamResponse:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        accept = request.headers.get("x-amzn-sagemaker-accept")
        if accept is not None:
            headers["accept"] = accept
        stack = AsyncExitStack()
        sent = time.perf_counter()
        try:
            response = await stack.enter_async_context(self._invoker.stream(fleet, request.body, headers))
            if not 200 <= response.status < 300:
                answer = Answer(response.status, {}, await response.read())
                self._invoker.note(endpoint, fleet, answer.status, began, sent, time.perf_counter())
                raise model_error(endpoint, answer)
        except TimeoutError:
            await stack.aclose()
            self._invoker.note(endpoint, fleet, 0, began, sent, time.perf_counter())
            raise model_error(endpoint, Answer(0, {}, b"The model did not answer in time.")) from None
        except BaseException:
            await stack.aclose()
            raise

        async def parts() -> AsyncGenerator[bytes, None]:
            status = response.status
            async with stack:
                try:
                    async for chunk in response.content.iter_any():
                        yield eventstream.part(chunk)
                except (aiohttp.ClientError, TimeoutError) as error:
                    status = 0
                    code = "StreamBroken" if isinstance(error, aiohttp.ClientError) else "ModelInvocationTimeExceeded"
                    yield eventstream.model_error(code, "The model's response broke off.")
                finally:
                    self._invoker.note(endpoint, fleet, status, began, sent, time.perf_counter())

        named = {
            "content-type": eventstream.CONTENT_TYPE,
            "x-amzn-sagemaker-content-type": response.headers.get("Content-Type", "application/octet-stream"),
            "x-amzn-invoked-production-variant": fleet.variant.name,
        }
        if ATTRIBUTES in response.headers:
            named[ATTRIBUTES] = response.headers[ATTRIBUTES]
        return StreamResponse(200, parts(), named)
