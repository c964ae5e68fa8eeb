"""InvokeEndpoint at its real path: a request goes to one of an endpoint's replicas, its answer comes back as AWS's."""

from __future__ import annotations

import time
from urllib.parse import unquote

import aiohttp

from localcloud.asgi import Request, Response
from localcloud.emulation import ACCOUNT
from localcloud.errors import AwsError, UnsupportedError
from localcloud.gateway import RUNTIME_PATH
from localcloud.sagemaker.control import ControlPlane
from localcloud.sagemaker.endpoint import Endpoint
from localcloud.sagemaker.fleet import Fleet
from localcloud.sagemaker.metrics import Invocation, Metrics
from localcloud.sagemaker.replica import Replica

# AWS: a model answers within 60 seconds.
MODEL_TIMEOUT_SECONDS = 60.0
_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_VARIANT = "x-amzn-sagemaker-target-variant"
_PASSED_ON = ("content-type", "accept", _ATTRIBUTES, "x-amzn-sagemaker-inference-id")
_NOT_EMULATED = {
    "x-amzn-sagemaker-target-model": "TargetModel",
    "x-amzn-sagemaker-target-container-hostname": "TargetContainerHostname",
    "x-amzn-sagemaker-enable-explanations": "EnableExplanations",
    "x-amzn-sagemaker-inference-component": "InferenceComponentName",
    "x-amzn-sagemaker-session-id": "SessionId",
}
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)


class Runtime:
    """Handler of `POST /endpoints/{name}/invocations`."""

    def __init__(self, control: ControlPlane, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self._control = control
        self._session = session
        self._metrics = metrics

    async def __call__(self, request: Request) -> Response:
        began = time.perf_counter()
        found = RUNTIME_PATH.match(request.path)
        if found is None:
            raise AwsError("UnknownOperationException", f"There is nothing at {request.path}.", 404)
        if found[2] != "invocations":
            raise UnsupportedError(f"The local AWS does not emulate {found[2]} yet; it has InvokeEndpoint.", 501)
        for header, member in _NOT_EMULATED.items():
            if header in request.headers:
                raise UnsupportedError(f"The local AWS does not emulate {member} of InvokeEndpoint.")
        endpoint = self._find(request.region, unquote(found[1]))
        fleet = self._choose(endpoint, request.headers.get(_VARIANT))
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
        endpoint.invocations += 1
        sent = time.perf_counter()
        try:
            status, headers, body = await self._send(request, fleet)
        except TimeoutError:
            status, headers, body = 0, {}, _TIMED_OUT.encode()
        received = time.perf_counter()
        model_seconds = received - sent
        overhead = received - began - model_seconds
        self._metrics.record(
            Invocation(
                endpoint.region,
                endpoint.name,
                fleet.variant.name,
                fleet.config,
                status,
                len(fleet.healthy),
                model_seconds,
                overhead,
            )
        )
        if not 200 <= status < 300:
            endpoint.errors += 1
            raise _model_error(endpoint, status, body)
        answer = {
            "content-type": headers.get("content-type", "application/octet-stream"),
            "x-amzn-invoked-production-variant": fleet.variant.name,
        }
        if _ATTRIBUTES in headers:
            answer[_ATTRIBUTES] = headers[_ATTRIBUTES]
        return Response(200, body, answer)

    async def _send(self, request: Request, fleet: Fleet) -> tuple[int, dict[str, str], bytes]:
        """The answer of one replica, or of a second one where the first broke off before answering."""
        failed: Replica | None = None
        for _ in range(2):
            replica = fleet.pick(excluded=failed) or fleet.pick()
            if replica is None:
                break
            try:
                return await self._send_to(replica, request)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                failed = replica
        raise AwsError(
            "ServiceUnavailable", f"No healthy replica of variant {fleet.variant.name} is there at the moment.", 503
        )

    async def _send_to(self, replica: Replica, request: Request) -> tuple[int, dict[str, str], bytes]:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        replica.begin_request()
        try:
            async with self._session.post(
                f"{replica.address}/invocations",
                data=request.body,
                headers=headers,
                skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
                timeout=aiohttp.ClientTimeout(total=MODEL_TIMEOUT_SECONDS),
            ) as response:
                body = await response.read()
                return response.status, {name.lower(): value for name, value in response.headers.items()}, body
        finally:
            replica.end_request()


def _model_error(endpoint: Endpoint, status: int, body: bytes) -> AwsError:
    region, name = endpoint.region, endpoint.name
    said = body.decode(errors="replace")
    kind = "client" if 400 <= status < 500 else "server"
    message = (
        f'Received {kind} error ({status}) from primary with message "{said}". See https://{region}.console.aws.amazon.com'
        f"/cloudwatch/home?region={region}#logEventViewer:group=/aws/sagemaker/Endpoints/{name} in account {ACCOUNT} "
        f"for more information. On this machine its log is in {endpoint.logs}."
    )
    log_stream = f"arn:aws:logs:{region}:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/{name}"
    return AwsError(
        "ModelError", message, 424, OriginalStatusCode=status, OriginalMessage=said, LogStreamArn=log_stream
    )
