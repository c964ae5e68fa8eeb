"""One endpoint: its status, the fleets behind it, and the work that moves it from one status to the next.

Apart from the API, which validates requests and names operations; here is what they do. What is told of an endpoint
is in `describing.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from localcloud.clock import Clock
from localcloud.cloudwatch.watch import Watch
from localcloud.sagemaker.capture import Capture
from localcloud.sagemaker.catalog import Record
from localcloud.sagemaker.deployment import Plan
from localcloud.sagemaker.fleet import DeploymentError, Fleet, Variant, Workshop
from localcloud.sagemaker.history import Traffic
from localcloud.sagemaker.rollout import Rollout, drain_all, start_all
from localcloud.sagemaker.serverless import ServerlessFleet
from localcloud.sagemaker.traffic import Route

log = logging.getLogger(__name__)

Status = Literal["Creating", "InService", "Updating", "RollingBack", "UpdateRollbackFailed", "Deleting", "Failed"]
EVENTS = 200


@dataclass(frozen=True)
class Pending:
    """What an update under way is to become."""

    config: Record
    fleets: dict[str, Fleet]
    shadows: dict[str, Fleet]


class Endpoint:
    """Owned by the event loop: every method runs on it, and one piece of work at a time changes the fleets."""

    def __init__(self, name: str, arn: str, region: str, config: Record, workshop: Workshop, logs: Path) -> None:
        self.name = name
        self.arn = arn
        self.region = region
        self.config = config
        self.logs = logs
        self.created = self.modified = workshop.clock.now()
        self.status: Status = "Creating"
        self.failure_reason: str | None = None
        self.last_deployment: dict[str, Any] | None = None
        self.pending: Pending | None = None
        self.rollout: Rollout | None = None
        self.fleets: dict[str, Fleet] = {}
        self.shadows: dict[str, Fleet] = {}
        self.capture: Capture | None = self._new_capture(config)
        self.traffic = Traffic()
        self.invocations = 0
        self.errors = 0
        # What happened, newest last: (moment on the clock, words).
        self.events: deque[tuple[float, str]] = deque(maxlen=EVENTS)
        self.route = Route()
        # New fleets that an update left behind which could be neither finished nor rolled back.
        self._strays: list[Fleet] = []
        # Of the update under way: AWS's word for it, ours, and since when.
        self.stage: tuple[str, str, float] | None = None
        self._shadow_credit = 0.0
        self._workshop = workshop
        self._work: asyncio.Task[None] | None = None

    # --- work -----------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        return self._workshop.clock

    @property
    def watch(self) -> Watch:
        return self._workshop.watch

    @property
    def asynchronous(self) -> bool:
        return "AsyncInferenceConfig" in self.config.request

    def create(self, variants: list[Variant], shadows: list[Variant]) -> None:
        self.fleets = self._new_fleets(variants, self.config)
        self.shadows = self._new_fleets(shadows, self.config)
        self._begin("Creating", self._create())

    def update(self, config: Record, variants: list[Variant], shadows: list[Variant], plan: Plan) -> None:
        pending = Pending(config, self._new_fleets(variants, config), self._new_fleets(shadows, config))
        self.pending = pending
        self._begin("Updating", self._update(pending, plan))

    def resize(self, counts: Mapping[str, int], weights: Mapping[str, float]) -> asyncio.Task[None]:
        return self._begin("Updating", self._resize(counts, weights))

    def delete(self, forget: Callable[[], None]) -> None:
        self._begin("Deleting", self._delete(forget))

    async def close(self) -> None:
        """Stops everything at the end of the server."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        await asyncio.gather(*(fleet.close() for fleet in self.running_fleets()))

    def _new_fleets(self, variants: list[Variant], config: Record) -> dict[str, Fleet]:
        return {
            variant.name: (ServerlessFleet if variant.serverless else Fleet)(
                variant, self._workshop, self.logs, config.name
            )
            for variant in variants
        }

    def _new_capture(self, config: Record) -> Capture | None:
        request = config.request.get("DataCaptureConfig")
        return Capture(self.name, request) if request else None

    def running_fleets(self) -> list[Fleet]:
        """Every fleet there is, those of an update under way included."""
        coming = [*self.pending.fleets.values(), *self.pending.shadows.values()] if self.pending else []
        return [*self.fleets.values(), *self.shadows.values(), *coming, *self._strays]

    def _begin(self, status: Status, work: Awaitable[None]) -> asyncio.Task[None]:
        self._enter(status)
        self._work = asyncio.get_running_loop().create_task(self._guarded(work))
        return self._work

    def _enter(self, status: Status) -> None:
        self.status = status
        self.modified = self._workshop.clock.now()
        self._tell(f"{status}{f': {self.failure_reason}' if self.failure_reason else ''}")

    def _tell(self, what: str) -> None:
        self.events.append((self._workshop.clock.now(), what))
        log.info("endpoint %s: %s", self.name, what)
        self._workshop.changed()

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:
            log.exception("endpoint %s: its %s failed", self.name, self.status)
            self.failure_reason = "The local AWS itself failed; its log says why."
            if self.pending is not None:
                self._route_to(Route.to(self.fleets))
                pending, self.pending = self.pending, None
                await asyncio.gather(
                    *(fleet.close() for fleet in [*pending.fleets.values(), *pending.shadows.values()])
                )
            self.rollout = None
            self._enter("InService" if self.route else "Failed")

    async def _create(self) -> None:
        try:
            await start_all({**self.fleets, **self.shadows})
        except DeploymentError as error:
            await asyncio.gather(*(fleet.close() for fleet in self.running_fleets()))
            self.failure_reason = str(error)
            self._enter("Failed")
            return
        self._route_to(Route.to(self.fleets))
        self._enter("InService")

    async def _update(self, pending: Pending, plan: Plan) -> None:
        blue, green = self.fleets, pending.fleets
        rollout = self.rollout = Rollout(
            plan,
            blue,
            green,
            self._workshop.clock,
            route=lambda shares: self._route_to(Route.between(blue, green, shares)),
            tell=self._enter_stage,
            rang=lambda alarm, since: self._workshop.watch.rang(self.region, alarm, since),
        )
        try:
            await start_all(pending.shadows)
            await rollout.run()
        except DeploymentError as error:
            await self._roll_back(rollout, pending, str(error))
            return
        self._route_to(Route.to(green))
        old = [*blue.values(), *self.shadows.values()]
        self.fleets, self.shadows, self.pending, self.config = green, pending.shadows, None, pending.config
        if self.capture is not None:
            self.capture.flush(self.clock.now())
        self.capture = self._new_capture(pending.config)
        self.failure_reason = None
        strays, self._strays = self._strays, old
        self._enter_stage("Deleting", "the old fleet ends")
        await drain_all([*strays, *self._strays])
        self._strays = []
        self._settle()

    async def _roll_back(self, rollout: Rollout, pending: Pending, reason: str) -> None:
        self.failure_reason = reason
        self._enter("RollingBack")
        green = [*pending.fleets.values(), *pending.shadows.values()]
        try:
            await rollout.back()
        except DeploymentError as error:
            self.failure_reason = str(DeploymentError(f"{reason} The rollback failed too: {error}"))
            self._strays += [fleet for fleet in green if fleet.replicas]
            self.pending = None
            self._settle("UpdateRollbackFailed")
            return
        await drain_all(green)
        self.pending = None
        self._settle()

    def _settle(self, status: Status = "InService") -> None:
        self.rollout = self.stage = None
        self._enter(status)

    def _enter_stage(self, stage: str, what: str) -> None:
        self.stage = (stage, what, self._workshop.clock.now())
        self._tell(what)

    async def _resize(self, counts: Mapping[str, int], weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            self.fleets[name].weight = weight
        self._route_to(Route.to(self.fleets))
        try:
            await asyncio.gather(*(self.fleets[name].scale(count) for name, count in counts.items()))
            self.failure_reason = None
        except DeploymentError as error:
            self.failure_reason = str(error)
        self._enter("InService")

    async def _delete(self, forget: Callable[[], None]) -> None:
        self._route_to(Route())
        if self.capture is not None:
            self.capture.flush(self.clock.now())
        await drain_all(self.running_fleets())
        forget()
        self._workshop.changed()

    # --- traffic --------------------------------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        return bool(self.route)

    def _route_to(self, route: Route) -> None:
        self.route = route

    def choose_fleet(self, variant: str | None = None) -> Fleet | None:
        """The fleet for the next request, of the variant asked for or by weight. None: no such variant."""
        fleet = self.route.choose(variant)
        coming = self.pending.fleets if self.pending else {}
        if fleet is not None and not fleet.healthy and fleet in self.fleets.values():
            # The new fleet can stand in for the old one, and not the other way round: no alarm would hear of a new
            # version that does not stay up, and it would take over.
            replacement = coming.get(fleet.variant.name)
            if replacement is not None and replacement.healthy and self.route.part(replacement) > 0:
                return replacement
        return fleet

    def next_shadow(self) -> Fleet | None:
        """The shadow variant, where the next request is one of those copied to it.

        It gets as much as its weight is to all production weights, and at most every request.
        """
        if not self.shadows:
            return None
        (shadow,) = self.shadows.values()
        total = sum(fleet.weight for fleet in self.fleets.values())
        self._shadow_credit += min(1.0, shadow.weight / total) if total > 0 else 0.0
        if self._shadow_credit < 1.0 - 1e-9:
            return None
        self._shadow_credit -= 1.0
        return shadow

    def count(self, fleet: Fleet, status: int, model_seconds: float) -> None:
        """Counts an invocation for the status page; copies to a shadow are not the clients'."""
        if fleet.variant.name in self.shadows:
            return
        good = 200 <= status < 300
        self.invocations += 1
        self.errors += not good
        self.traffic.add(fleet.config, good, model_seconds)
