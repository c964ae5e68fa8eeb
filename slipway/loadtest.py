"""A live endpoint under more and more clients, until more of them bring no more answers: what one instance bears.

Closed loop: each client sends its next request when it has its answer. Requests are signed once and sent again, as long
as AWS takes the signature, so that the client's own work does not end the test first.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from model_build.capacity import Capacity
from model_build.errors import UserError
from slipway.live import running_digest

if TYPE_CHECKING:
    import aiohttp

SIGNED_SECONDS = 120.0
"""AWS takes a signature for five minutes."""
TIMEOUT_SECONDS = 60.0
"""SageMaker waits so long for a container."""
GAIN = 1.1
"""Twice the clients that bring less than this times the answers: the instance is full."""
NEAR = 0.95
"""The knee is the fewest clients that reach this share of the highest throughput."""
ERRORS = 0.001
"""Share of failed requests from which a level does not count as borne."""
BUSY = 0.9
"""Share of a core from which the client itself may have been the limit."""


@dataclass(frozen=True)
class Level:
    """What so many clients got."""

    clients: int
    rps: float
    p50_ms: float
    p95_ms: float
    errors: float
    """Share of the requests that failed, 0…1."""
    failure: str
    """What the first of them said."""
    busy: float
    """Share of a core that this process used."""

    def borne(self, max_p95_ms: float | None) -> bool:
        return self.errors <= ERRORS and (max_p95_ms is None or self.p95_ms <= max_p95_ms)


@dataclass(frozen=True)
class Target:
    """What is loaded, as the cloud describes it."""

    endpoint: str
    artifact: str
    instance: str
    count: int


@dataclass(frozen=True)
class Request:
    """One request, signed for now."""

    url: str
    headers: Mapping[str, str]
    body: bytes


def target(control: Any, endpoint: str) -> Target:
    """Raises UserError where it is not in service, has several variants, or is no endpoint of instances."""
    artifact = running_digest(control, endpoint)
    if artifact is None:
        raise UserError(
            f"{endpoint}: the address of its artifact names no digest, so evidence could not say what it is of",
            "load an endpoint that this project deployed",
        )
    found = control.describe_endpoint(EndpointName=endpoint)
    config = control.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
    variants = config["ProductionVariants"]
    if len(variants) != 1 or "InstanceType" not in variants[0]:
        raise UserError(
            f"{endpoint}: capacity is measured of one variant on instances; this endpoint has "
            + (f"{len(variants)} variants" if len(variants) != 1 else "none: it is serverless"),
            "load an endpoint of kind realtime without deploy.variants",
        )
    count = found["ProductionVariants"][0]["CurrentInstanceCount"]
    return Target(endpoint, artifact, variants[0]["InstanceType"], count)


def signer(runtime: Any, endpoint: str, body: bytes, kind: str) -> Callable[[], Request]:
    """Makes the request that a boto3 client would send, signed for the moment, with its credentials."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    url = f"{runtime.meta.endpoint_url}/endpoints/{endpoint}/invocations"
    region = runtime.meta.region_name

    def sign() -> Request:
        credentials = runtime._request_signer._credentials
        if credentials is None:
            raise UserError("there are no AWS credentials", "log in: aws sso login, or set AWS_PROFILE")
        headers = {"Content-Type": kind, "Accept": "application/json"}
        request = AWSRequest(method="POST", url=url, data=body, headers=headers)
        SigV4Auth(credentials.get_frozen_credentials(), "sagemaker", region).add_auth(request)
        return Request(url, dict(request.headers.items()), body)

    return sign


def climb(
    sign: Callable[[], Request],
    *,
    seconds: float,
    max_clients: int,
    max_p95_ms: float | None,
    progress: Callable[[Level], None] = lambda level: None,
) -> list[Level]:
    """Levels of 1, 2, 4, … clients, until twice as many bring no more, or one is not borne. Raises UserError."""
    levels: list[Level] = []
    for clients in _doubling(max_clients):
        level = asyncio.run(_level(sign, clients, seconds))
        if clients == 1 and level.errors > ERRORS:
            raise UserError(
                f"the endpoint fails for a single client already: {level.failure}",
                "mend it first; slipway diagnose NAME",
            )
        progress(level)
        levels.append(level)
        if not level.borne(max_p95_ms) or (len(levels) > 1 and level.rps < GAIN * levels[-2].rps):
            break
    return levels


def knee(levels: Sequence[Level], max_p95_ms: float | None = None) -> Level:
    """The fewest clients that reach nearly the highest throughput that was borne: beyond, only latency grows.

    Raises UserError where even one client is not borne.
    """
    borne = [level for level in levels if level.borne(max_p95_ms)]
    if not borne:
        raise UserError(
            f"even one client waits {levels[0].p95_ms:.0f} ms at p95, more than {max_p95_ms:g}",
            "a higher --max-p95, a faster candidate or a larger instance",
        )
    enough = NEAR * max(level.rps for level in borne)
    return next(level for level in borne if level.rps >= enough)


def capacity(loaded: Target, level: Level, name: str, environment: str) -> Capacity:
    """The evidence for one instance: several shared the load evenly."""
    return Capacity(
        name=name,
        artifact=loaded.artifact,
        instance=loaded.instance,
        environment=environment,
        max_rps=float(f"{level.rps / loaded.count:.4g}"),
        concurrency=float(f"{level.clients / loaded.count:.4g}"),
        latency_p50_ms=round(level.p50_ms, 3),
        latency_p95_ms=round(level.p95_ms, 3),
        measured=datetime.now(UTC).date(),
    )


def _doubling(most: int) -> Iterator[int]:
    clients = 1
    while clients < most:
        yield clients
        clients *= 2
    yield most


async def _level(sign: Callable[[], Request], clients: int, seconds: float) -> Level:
    """A tenth of the time to warm up, which is not counted."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        lane = _Lane(session, sign)
        await lane.run(clients, seconds / 10)
        lane.forget()
        began, used = time.perf_counter(), time.process_time()
        await lane.run(clients, seconds)
        took, used = time.perf_counter() - began, time.process_time() - used
    answered = len(lane.seconds)
    total = answered + lane.failed
    if not answered:
        return Level(clients, 0.0, math.inf, math.inf, 1.0, lane.failure, used / took)
    ordered = sorted(lane.seconds)
    p50, p95 = (1000 * ordered[min(answered - 1, int(answered * share))] for share in (0.5, 0.95))
    return Level(clients, answered / took, p50, p95, lane.failed / total, lane.failure, used / took)


class _Lane:
    """The clients of one level. `seconds` are the latencies of good answers."""

    def __init__(self, session: aiohttp.ClientSession, sign: Callable[[], Request]) -> None:
        self._session, self._sign = session, sign
        self._request, self._signed = sign(), time.monotonic()
        self.forget()

    def forget(self) -> None:
        self.seconds: list[float] = []
        self.failed = 0
        self.failure = ""

    async def run(self, clients: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._client(end) for _ in range(clients)))

    async def _client(self, end: float) -> None:
        while (now := time.monotonic()) < end:
            if now - self._signed > SIGNED_SECONDS:
                self._request, self._signed = self._sign(), now
            said = await self._ask(self._request)
            if said is not None:
                self.failed += 1
                self.failure = self.failure or said
                await asyncio.sleep(0.05)  # one that refuses at once is not to be asked ten thousand times

    async def _ask(self, request: Request) -> str | None:
        """None for a good answer, else what went wrong."""
        import aiohttp

        began = time.perf_counter()
        try:
            async with self._session.post(request.url, data=request.body, headers=request.headers) as response:
                content = await response.read()
                if response.status != 200:
                    return f"{response.status}: {content[:300].decode(errors='replace')}"
        except TimeoutError:
            return f"no answer within {TIMEOUT_SECONDS:g} s"
        except aiohttp.ClientError as error:
            return f"{type(error).__name__}: {error}"
        self.seconds.append(time.perf_counter() - began)
        return None
