"""The replicas of one production variant: as many as wanted, replaced when they die, chosen for each request.

Apart from the endpoint because an update runs two of these side by side.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from localcloud.clock import Clock
from localcloud.cloudwatch.watch import Watch
from localcloud.sagemaker.artifacts import ArtifactError, ArtifactStore
from localcloud.sagemaker.replica import Program, Replica, StartupError

log = logging.getLogger(__name__)

DEFAULT_STARTUP_SECONDS = 600.0
DEFAULT_DOWNLOAD_SECONDS = 3600.0
DRAIN_SECONDS = 60.0
_MAX_BACKOFF_SECONDS = 30.0
# So many in a row: one that is late is a busy machine, not a dead replica.
FAILED_CHECKS = 3
FAILURE_REASON_LIMIT = 1024


class DeploymentError(Exception):
    """A variant that cannot run; the message is the endpoint's failure reason."""

    def __init__(self, reason: str) -> None:
        shortened = reason if len(reason) <= FAILURE_REASON_LIMIT else reason[: FAILURE_REASON_LIMIT - 1] + "…"
        super().__init__(shortened)


@dataclass(frozen=True)
class Variant:
    """A production variant and its model, resolved when the endpoint was created or updated."""

    name: str
    model: str
    container: Mapping[str, Any]
    count: int
    weight: float
    # A ServerlessConfig of the API; empty for an instance-based variant.
    serverless: Mapping[str, Any] = field(default_factory=dict)
    startup_timeout: float = DEFAULT_STARTUP_SECONDS
    download_timeout: float = DEFAULT_DOWNLOAD_SECONDS

    @classmethod
    def of(cls, request: Mapping[str, Any], container: Mapping[str, Any]) -> Variant:
        """From a `ProductionVariant` of the API and its model's `PrimaryContainer`."""
        return cls(
            name=request["VariantName"],
            model=request["ModelName"],
            container=container,
            count=request.get("InitialInstanceCount", 0),
            weight=request["InitialVariantWeight"],
            serverless=request.get("ServerlessConfig", {}),
            startup_timeout=request.get("ContainerStartupHealthCheckTimeoutInSeconds", DEFAULT_STARTUP_SECONDS),
            download_timeout=request.get("ModelDataDownloadTimeoutInSeconds", DEFAULT_DOWNLOAD_SECONDS),
        )


@dataclass
class Workshop:
    """What every fleet needs to start replicas, shared by the whole server."""

    artifacts: ArtifactStore
    program: Program
    session: aiohttp.ClientSession
    # Starting a replica is all processor: more at a time than cores would only fail health checks.
    starts: asyncio.Semaphore
    # Told of each change that the status page shows.
    changed: Callable[[], None] = field(default=lambda: None)
    watch: Watch = field(default_factory=lambda: Watch(Clock()))
    # Seconds of the wall between two health checks of a replica.
    health_interval: float = 5.0
    # Seconds of the wall that a replica may take to start, also where its configuration allows more.
    start_limit: float = math.inf

    @property
    def clock(self) -> Clock:
        return self.watch.clock


class Fleet:
    """Replicas of one variant. `start` before anything else, `close` at the end.

    `config` is the name of the endpoint configuration that asked for it.
    """

    def __init__(self, variant: Variant, workshop: Workshop, logs: Path, config: str = "") -> None:
        self.variant = variant
        self.config = config
        self.weight = variant.weight
        self.desired = variant.count
        self.replicas: list[Replica] = []
        self.restarts = 0
        self.throttles = 0
        self.cold_starts: list[float] = []
        self.idle_since: dict[str, float] = {}
        self._workshop = workshop
        self._logs = logs
        self._model: Path | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._turn = 0

    @property
    def clock(self) -> Clock:
        return self._workshop.clock

    def tick(self, moment: float) -> None:
        """Called every ten seconds of the clock."""

    @property
    def healthy(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.state == "Healthy"]

    async def start(self) -> None:
        """Downloads the model and starts every replica. Raises DeploymentError; what was started is then stopped."""
        await self.prepare()
        await self.scale(self.variant.count)

    async def prepare(self) -> None:
        """Downloads the model; replicas start with `scale`. Raises DeploymentError."""
        try:
            async with asyncio.timeout(self.variant.download_timeout):
                self._model = await asyncio.to_thread(self._workshop.artifacts.obtain, dict(self.variant.container))
        except ArtifactError as error:
            raise DeploymentError(str(error)) from None
        except TimeoutError:
            raise DeploymentError(f"Model data of variant {self.variant.name} was not downloaded in time.") from None

    async def scale(self, count: int) -> None:
        """Runs `count` healthy replicas. Raises DeploymentError, with the count as it was."""
        before = self.desired
        self.desired = count
        missing = count - len(self.replicas)
        if missing > 0:
            try:
                await self._add(missing)
            except DeploymentError:
                self.desired = before
                raise
        else:
            surplus = self.replicas[count:]
            await asyncio.gather(*(self._retire(replica) for replica in surplus))

    async def _add(self, count: int) -> None:
        added = [self._new_replica() for _ in range(count)]
        starts = [asyncio.ensure_future(self._start_replica(replica)) for replica in added]
        try:
            await asyncio.gather(*starts)
        except BaseException as error:
            # The first failure decides; the others are stopped before anyone is told.
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await asyncio.gather(*(self._discard(replica) for replica in added))
            if isinstance(error, StartupError):
                raise DeploymentError(self._failure(error)) from None
            raise

    def _failure(self, error: StartupError) -> str:
        return (
            f"The primary container for production variant {self.variant.name} did not pass the ping health check. "
            f"Please check the logs of this endpoint. Reason: {error}"
        )

    def _new_replica(self) -> Replica:
        if self._model is None:
            raise RuntimeError("a fleet is scaled before it was started")
        environment = self.variant.container.get("Environment", {})
        replica = Replica(self._workshop.program, self._model, environment, self._logs, self.variant.name)
        replica.memory_mb = self.variant.serverless.get("MemorySizeInMB")
        self.replicas.append(replica)
        return replica

    async def _start_replica(self, replica: Replica) -> None:
        async with self._workshop.starts:
            limit = min(self.variant.startup_timeout, self._workshop.start_limit)
            await replica.start(self._workshop.session, limit)
        self._workshop.changed()
        self._spawn(self._heal(replica))
        self._spawn(self._check(replica))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check(self, replica: Replica) -> None:
        """Kills a replica that accepts connections and answers none, so that it is replaced as one that ended is."""
        failed = 0
        while replica.state == "Healthy":
            answered = replica.answered
            await asyncio.sleep(self._workshop.health_interval)
            alive = await replica.ping(self._workshop.session) or replica.answered > answered
            failed = 0 if alive else failed + 1
            if failed >= FAILED_CHECKS and replica.state == "Healthy":
                log.warning("%s of %s failed %d health checks and is killed", replica.id, self.variant.name, failed)
                replica.kill()
                return

    async def _heal(self, replica: Replica) -> None:
        """Replaces a replica that ends by itself, for as long as it takes."""
        code = await replica.wait_exit()
        if replica.state != "Healthy" or self._closed:
            return
        reason = replica.last_line()
        log.warning("%s of %s ended with exit code %s: %s", replica.id, self.variant.name, code, reason)
        await self._discard(replica)
        backoff = 0.5
        while not self._closed and len(self.replicas) < self.desired:
            self.restarts += 1
            successor = self._new_replica()
            try:
                await self._start_replica(successor)
            except StartupError as error:
                log.warning("%s of %s could not be replaced: %s", replica.id, self.variant.name, error)
                await self._discard(successor)
                await asyncio.sleep(backoff)
                backoff = min(_MAX_BACKOFF_SECONDS, backoff * 2)

    async def _discard(self, replica: Replica) -> None:
        if replica in self.replicas:
            self.replicas.remove(replica)
        await replica.stop()
        self._workshop.changed()

    async def _retire(self, replica: Replica) -> None:
        """Ends a replica without failing a request: no new ones, the running ones finish, then SIGTERM."""
        await replica.drain(DRAIN_SECONDS)
        await self._discard(replica)

    def pick(self, excluded: Replica | None = None) -> Replica | None:
        """The healthy replica with the fewest requests under way; equals take turns. None where there is none."""
        candidates = [replica for replica in self.healthy if replica is not excluded]
        if not candidates:
            return None
        fewest = min(replica.outstanding for replica in candidates)
        least = [replica for replica in candidates if replica.outstanding == fewest]
        self._turn += 1
        return least[self._turn % len(least)]

    @asynccontextmanager
    async def replica(self, excluded: Replica | None = None) -> AsyncIterator[Replica | None]:
        """A replica for one request, which counts as under way meanwhile; None where there is none."""
        replica = self.pick(excluded) or self.pick()
        if replica is None:
            yield None
            return
        replica.begin_request()
        try:
            yield replica
        finally:
            replica.end_request()

    async def drain_and_close(self) -> None:
        """For a fleet that took traffic: lets its requests finish first."""
        self._closed = True
        self.desired = 0
        await asyncio.gather(*(self._retire(replica) for replica in list(self.replicas)))
        await self.close()

    async def close(self) -> None:
        """Stops everything now."""
        self._closed = True
        self.desired = 0
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._discard(replica) for replica in list(self.replicas)))
