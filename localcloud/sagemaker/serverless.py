"""A serverless variant: a worker for each request at a time, started when it is needed and ended when it is idle."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from localcloud.errors import AwsError
from localcloud.sagemaker.fleet import DRAIN_SECONDS, DeploymentError, Fleet
from localcloud.sagemaker.replica import Replica, StartupError

PAYLOAD_LIMIT = 4 * 1024 * 1024
# AWS does not say after how long it takes a worker away; observations range from five to fifteen minutes.
IDLE_SECONDS = 600.0


class ServerlessFleet(Fleet):
    """Workers of a variant with a ServerlessConfig; each serves one request at a time."""

    _under_way = 0

    @property
    def limit(self) -> int:
        return int(self.variant.serverless["MaxConcurrency"])

    @property
    def provisioned(self) -> int:
        return int(self.variant.serverless.get("ProvisionedConcurrency", 0))

    async def start(self) -> None:
        """Starts one worker, or the provisioned ones, to see that the model runs; it goes when it stays idle."""
        await self.prepare()
        self.idle_since: dict[str, float] = {}
        await self.scale(max(1, self.provisioned))

    @asynccontextmanager
    async def replica(self, excluded: Replica | None = None) -> AsyncIterator[Replica | None]:
        """A worker of the request's own. Raises AwsError over the limit of concurrency."""
        if self._under_way >= self.limit:
            self.throttles += 1
            raise AwsError(
                "ThrottlingException",
                f"Rate exceeded: variant {self.variant.name} serves MaxConcurrency ({self.limit}) requests already.",
            )
        self._under_way += 1
        try:
            worker = next((one for one in self.healthy if one.outstanding == 0 and one is not excluded), None)
            if worker is not None:
                worker.begin_request()
            else:
                worker = await self._cold_start()
            if worker is None:
                yield None
                return
            try:
                yield worker
            finally:
                worker.end_request()
                self.idle_since[worker.id] = self.clock.now()
        finally:
            self._under_way -= 1

    async def _cold_start(self) -> Replica | None:
        began = time.perf_counter()
        worker = self._new_replica()
        self.desired = len(self.replicas)
        # The request that it starts for is its first.
        worker.begin_request()
        try:
            await self._start_replica(worker)
        except StartupError:
            await self._discard(worker)
            self.desired = len(self.replicas)
            return None
        except BaseException:
            await self._discard(worker)
            raise
        self.cold_starts.append(time.perf_counter() - began)
        return worker

    def take_cold_starts(self) -> list[float]:
        """Seconds of each cold start since the last call."""
        taken, self.cold_starts = self.cold_starts, []
        return taken

    def tick(self, moment: float) -> None:
        """Ends workers that were idle for long, down to the provisioned ones."""
        for worker in self.healthy:
            since = self.idle_since.setdefault(worker.id, moment)
            if worker.outstanding == 0 and moment - since >= IDLE_SECONDS and self.desired > self.provisioned:
                self.desired -= 1
                self.idle_since.pop(worker.id, None)
                worker.state = "Draining"
                self._spawn(self._end(worker))

    async def _end(self, worker: Replica) -> None:
        await worker.drain(DRAIN_SECONDS)
        await self._discard(worker)

    async def scale(self, count: int) -> None:
        if count > self.limit:
            raise DeploymentError(f"Variant {self.variant.name} has a MaxConcurrency of {self.limit}.")
        await super().scale(count)
