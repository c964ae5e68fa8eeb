"""One endpoint: its status, the fleets behind it, and the work that moves it from one status to the next.

Apart from the API, which validates requests and names operations; here is what they do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from localcloud.sagemaker.catalog import Record
from localcloud.sagemaker.fleet import DeploymentError, Fleet, Variant, Workshop
from localcloud.sagemaker.rollout import Fleets, Strategy, start_all

log = logging.getLogger(__name__)

Status = Literal["Creating", "InService", "Updating", "Deleting", "Failed"]


class Endpoint:
    """Owned by the event loop: every method runs on it, and one piece of work at a time changes the fleets."""

    def __init__(self, name: str, arn: str, region: str, config: Record, workshop: Workshop, logs: Path) -> None:
        self.name = name
        self.arn = arn
        self.region = region
        self.config = config
        self.logs = logs
        self.created = self.modified = time.time()
        self.status: Status = "Creating"
        self.failure_reason: str | None = None
        self.last_deployment: dict[str, Any] | None = None
        self.pending: tuple[Record, dict[str, Fleet]] | None = None
        self.fleets: dict[str, Fleet] = {}
        self.invocations = 0
        self.errors = 0
        self._workshop = workshop
        self._route: Fleets = {}
        self._credit: dict[str, float] = {}
        self._work: asyncio.Task[None] | None = None

    # --- work -----------------------------------------------------------------------------------------------------

    def create(self, variants: list[Variant]) -> None:
        self.fleets = self._new_fleets(variants, self.config)
        self._begin("Creating", self._create())

    def update(self, config: Record, variants: list[Variant], strategy: Strategy) -> None:
        green = self._new_fleets(variants, config)
        self.pending = (config, green)
        self._begin("Updating", self._update(config, green, strategy))

    def resize(self, counts: Mapping[str, int], weights: Mapping[str, float]) -> None:
        self._begin("Updating", self._resize(counts, weights))

    def delete(self, forget: Callable[[], None]) -> None:
        self._begin("Deleting", self._delete(forget))

    async def close(self) -> None:
        """Stops everything at the end of the server."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        await asyncio.gather(*(fleet.close() for fleet in self.running_fleets()))

    def _new_fleets(self, variants: list[Variant], config: Record) -> dict[str, Fleet]:
        return {variant.name: Fleet(variant, self._workshop, self.logs, config.name) for variant in variants}

    def running_fleets(self) -> list[Fleet]:
        """Every fleet there is, those of an update under way included."""
        return [*self.fleets.values(), *(self.pending[1].values() if self.pending else ())]

    def _begin(self, status: Status, work: Awaitable[None]) -> None:
        self._enter(status)
        self._work = asyncio.ensure_future(self._guarded(work))

    def _enter(self, status: Status) -> None:
        self.status = status
        self.modified = time.time()
        log.info("endpoint %s: %s%s", self.name, status, f" ({self.failure_reason})" if self.failure_reason else "")
        self._workshop.changed()

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:
            log.exception("endpoint %s: its %s failed", self.name, self.status)
            self.failure_reason = "The local AWS itself failed; its log says why."
            if self.pending is not None:
                await asyncio.gather(*(fleet.close() for fleet in self.pending[1].values()))
                self.pending = None
            self._enter("InService" if self._route else "Failed")

    async def _create(self) -> None:
        try:
            await start_all(self.fleets)
        except DeploymentError as error:
            await asyncio.gather(*(fleet.close() for fleet in self.fleets.values()))
            self.failure_reason = str(error)
            self._enter("Failed")
            return
        self._route_to(self.fleets)
        self._enter("InService")

    async def _update(self, config: Record, green: dict[str, Fleet], strategy: Strategy) -> None:
        blue = self.fleets
        try:
            await strategy(blue, green, self._route_to)
        except DeploymentError as error:
            self._route_to(blue)
            await asyncio.gather(*(fleet.close() for fleet in green.values()))
            self.failure_reason = str(error)
        else:
            self.fleets = green
            self.config = config
            self.failure_reason = None
            await asyncio.gather(*(fleet.drain_and_close() for fleet in blue.values()))
        self.pending = None
        self._enter("InService")

    async def _resize(self, counts: Mapping[str, int], weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            self.fleets[name].weight = weight
        self._route_to(self.fleets)
        try:
            await asyncio.gather(*(self.fleets[name].scale(count) for name, count in counts.items()))
            self.failure_reason = None
        except DeploymentError as error:
            self.failure_reason = str(error)
        self._enter("InService")

    async def _delete(self, forget: Callable[[], None]) -> None:
        self._route = {}
        await asyncio.gather(*(fleet.drain_and_close() for fleet in self.fleets.values()))
        forget()
        self._workshop.changed()

    # --- traffic --------------------------------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        return bool(self._route)

    def _route_to(self, fleets: Fleets) -> None:
        self._route = dict(fleets)
        self._credit = dict.fromkeys(fleets, 0.0)

    def choose_fleet(self, variant: str | None = None) -> Fleet | None:
        """The variant for the next request: the one asked for, else by smooth weighted round robin. None: no such."""
        if variant is not None:
            return self._route.get(variant)
        total = sum(fleet.weight for fleet in self._route.values())
        for name, fleet in self._route.items():
            self._credit[name] += fleet.weight
        if not self._route or total <= 0:
            return None
        chosen = max(self._credit, key=self._credit.__getitem__)
        self._credit[chosen] -= total
        return self._route[chosen]

    # --- what is told ---------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """DescribeEndpoint's answer."""
        answer: dict[str, Any] = {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "EndpointConfigName": self.config.name,
            "ProductionVariants": [_variant_summary(fleet) for fleet in self.fleets.values()],
            "EndpointStatus": self.status,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
        }
        if self.failure_reason:
            answer["FailureReason"] = self.failure_reason
        if self.last_deployment:
            answer["LastDeploymentConfig"] = self.last_deployment
        if self.pending:
            config, green = self.pending
            answer["PendingDeploymentSummary"] = {
                "EndpointConfigName": config.name,
                "ProductionVariants": [_variant_summary(fleet) for fleet in green.values()],
                "StartTime": self.modified,
            }
        return answer

    def snapshot(self) -> dict[str, Any]:
        """What the status page shows."""
        return {
            "name": self.name,
            "region": self.region,
            "status": self.status,
            "failure_reason": self.failure_reason,
            "config": self.config.name,
            "invocations": self.invocations,
            "errors": self.errors,
            "logs": str(self.logs),
            "variants": [
                {
                    "name": fleet.variant.name,
                    "model": fleet.variant.model,
                    "weight": fleet.weight,
                    "desired": fleet.desired,
                    "restarts": fleet.restarts,
                    "replicas": [
                        {
                            "id": replica.id,
                            "pid": replica.pid,
                            "port": replica.port,
                            "state": replica.state,
                            "outstanding": replica.outstanding,
                            "log": str(replica.log),
                        }
                        for replica in fleet.replicas
                    ],
                }
                for fleet in self.running_fleets()
            ],
        }


def _variant_summary(fleet: Fleet) -> dict[str, Any]:
    image = fleet.variant.container["Image"]
    return {
        "VariantName": fleet.variant.name,
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image}],
        "CurrentWeight": fleet.weight if fleet.healthy else 0.0,
        "DesiredWeight": fleet.weight,
        "CurrentInstanceCount": len(fleet.healthy),
        "DesiredInstanceCount": fleet.desired,
    }
