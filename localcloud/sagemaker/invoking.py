"""One request to one fleet: a replica answers it, a second one where the first broke off, and it is measured.

Apart from the runtime's handler because shadow copies, asynchronous requests and streams are sent the same way.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from localcloud.emulation import ACCOUNT
from localcloud.errors import AwsError
from localcloud.sagemaker.endpoint import Endpoint
from localcloud.sagemaker.fleet import Fleet
from localcloud.sagemaker.metrics import Invocation, Metrics
from localcloud.sagemaker.replica import Replica

# AWS: a model answers within 60 seconds.
MODEL_TIMEOUT_SECONDS = 60.0
ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)


@dataclass(frozen=True)
class Answer:
    """What a model said. `status` is 0 where it said nothing in time."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "application/octet-stream")


class Invoker:
    def __init__(self, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self._session = session
        self._metrics = metrics

    async def ask(
        self,
        endpoint: Endpoint,
        fleet: Fleet,
        body: bytes,
        headers: Mapping[str, str],
        began: float,
        timeout: float = MODEL_TIMEOUT_SECONDS,
    ) -> Answer:
        """The model's answer, whatever it is, measured. Raises AwsError where no replica can take the request."""
        sent = time.perf_counter()
        try:
            answer = await self._ask_twice(fleet, body, headers, timeout)
        except AwsError as error:
            if error.status >= 500:
                # A model that dies is a model that fails, also for the alarms of a deployment.
                self.note(endpoint, fleet, error.status, began, sent, time.perf_counter())
            raise
        except TimeoutError:
            answer = Answer(0, {}, _TIMED_OUT.encode())
        self.note(endpoint, fleet, answer.status, began, sent, time.perf_counter())
        return answer

    def note(self, endpoint: Endpoint, fleet: Fleet, status: int, began: float, sent: float, received: float) -> None:
        """Measures an invocation: `began` when it reached us, `sent` and `received` when the model had it."""
        model_seconds = received - sent
        self._metrics.record(
            Invocation(
                endpoint.region,
                endpoint.name,
                fleet.variant.name,
                fleet.config,
                status,
                len(fleet.healthy),
                model_seconds,
                max(0.0, time.perf_counter() - began - model_seconds),
                per_instance=not endpoint.asynchronous,
            )
        )
        endpoint.count(fleet, status, model_seconds)

    async def _ask_twice(self, fleet: Fleet, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
        failed: Replica | None = None
        for _ in range(2):
            async with fleet.replica(failed) as replica:
                if replica is None:
                    break
                try:
                    async with self._post(replica, body, headers, timeout) as response:
                        content = await response.read()
                        replica.answered += 1
                        named = {name.lower(): value for name, value in response.headers.items()}
                        return Answer(response.status, named, content)
                except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                    failed = replica
        raise unavailable(fleet)

    @asynccontextmanager
    async def _post(
        self, replica: Replica, body: bytes, headers: Mapping[str, str], timeout: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._session.post(
            f"{replica.address}/invocations",
            data=body,
            headers=headers,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=timeout),
        ) as response:
            yield response

    @asynccontextmanager
    async def stream(
        self, fleet: Fleet, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The model's response as it comes. Raises AwsError where no replica can take the request."""
        async with fleet.replica() as replica:
            if replica is None:
                raise unavailable(fleet)
            try:
                async with self._post(replica, body, headers, MODEL_TIMEOUT_SECONDS) as response:
                    yield response
            except aiohttp.ClientConnectorError:
                raise unavailable(fleet) from None


def unavailable(fleet: Fleet) -> AwsError:
    return AwsError(
        "ServiceUnavailable", f"No healthy replica of variant {fleet.variant.name} is there at the moment.", 503
    )


def model_error(endpoint: Endpoint, answer: Answer) -> AwsError:
    """The error that a client of AWS gets for a model's answer other than 2xx."""
    region, name, status = endpoint.region, endpoint.name, answer.status
    said = answer.body.decode(errors="replace")
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
