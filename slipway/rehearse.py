"""A rollout under traffic, rehearsed: on a copy of the local environment, whose clock runs faster, with real replicas.

    copy of what the local AWS keeps → its own server → endpoint in service → traffic → update → report

The copy has the endpoint's own deployment policy, alarms and scaling policies; what breaks there breaks nothing else.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from localcloud.traffic.arrivals import Curve, arrivals
from localcloud.traffic.open_loop import Answered, OpenLoop
from model_build.errors import UserError
from slipway.console import Console
from slipway.local import CREDENTIALS, Local, mendable
from slipway.rehearse_fault import Fault
from slipway.rehearse_profile import Profile
from slipway.rehearse_stage import NEW, UNSETTLED, Stage

SAMPLE_SECONDS = 0.25
# Of the clock, after the traffic's end: a rollout that has not settled by then is told as it is.
PATIENCE_SECONDS = 4 * 3600.0


@dataclass(frozen=True)
class Plan:
    """What to rehearse. `fault` is that of a bad version; None for one as good as what runs."""

    endpoint: str
    profile: Profile
    speed: float
    body: bytes
    content_type: str
    fault: Fault | None = None


@dataclass(frozen=True)
class Moment:
    """What runs at a moment, `at` seconds of the clock after the beginning: processes, and traffic in requests/s."""

    at: float
    replicas: int
    wanted: int
    rate: float


@dataclass
class Rehearsal:
    """What was seen. Times are seconds of the clock after the beginning, but those of `answers`, of the wall."""

    plan: Plan
    capacity: float
    carried: float
    curve: Curve
    policies: dict[str, Any]
    answers: list[Answered] = field(default_factory=list)
    late: float = 0.0
    moments: list[Moment] = field(default_factory=list)
    began: float = 0.0
    settled: float | None = None
    outcome: str = "not settled"
    reason: str = ""
    rollout: list[tuple[float, str]] = field(default_factory=list)
    scaling: list[tuple[float, int, int, str]] = field(default_factory=list)

    @property
    def replica_seconds(self) -> float:
        return _area([(moment.at, moment.replicas) for moment in self.moments])

    @property
    def oracle_seconds(self) -> float:
        """Of the fewest replicas that hold the traffic of each moment, one at least."""
        return _area([(moment.at, moment.wanted) for moment in self.moments])


def rehearse(local: Local, plan: Plan, console: Console) -> Rehearsal:
    """Raises UserError where there is no such endpoint, or it cannot be rehearsed."""
    with _copied(local, plan, console) as cloud:
        stage = Stage(cloud, plan)
        with console.step(f"{plan.endpoint} starts in the copy"):
            stage.await_service()
            stage.check()
        with console.step("capacity of one replica"):
            capacity = plan.profile.capacity or asyncio.run(stage.measure_capacity())
            how = "stated" if plan.profile.capacity else "measured"
            console.note(f"{capacity:.0f} requests/s, {how}")
        carried = stage.target() or capacity / 2
        rehearsal = Rehearsal(plan, capacity, carried, plan.profile.curve(carried), stage.policies())
        version = f"a bad version ({plan.fault})" if plan.fault else "a version as good as what runs"
        with console.step(f"traffic, and {version}"):
            stage.make_version()
            stage.point_alarms()
            wall = rehearsal.curve.duration / plan.speed
            console.note(
                f"{clock_text(rehearsal.curve.duration)} of traffic in {wall:.0f} s, and until the rollout ends"
            )
            asyncio.run(_play(stage, rehearsal))
        return rehearsal


@contextmanager
def _copied(local: Local, plan: Plan, console: Console) -> Iterator[str]:
    """The address of a local AWS on a copy of what this checkout's keeps, with one endpoint; it ends with the block."""
    from localcloud import daemon
    from localcloud.persistence.copying import copy_state

    directory = local.rehearsal
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("another rehearsal runs in this checkout", next_step="wait until it ends") from None
        try:
            with console.step("copy of the local environment"), mendable():
                # One that was killed may have left its server.
                daemon.stop(directory)
                shutil.rmtree(directory, ignore_errors=True)
                copy_state(local.cloud / daemon.KEPT, directory / daemon.KEPT, CREDENTIALS["AWS_REGION"], plan.endpoint)
                options = ("--port", "0", "--request-weight", f"{plan.speed:g}")
                server = daemon.start(directory, arguments=options, speed=plan.speed)
            yield server.endpoint
        finally:
            daemon.stop(directory)
            shutil.rmtree(directory, ignore_errors=True)


async def _play(stage: Stage, rehearsal: Rehearsal) -> None:
    """Traffic and, in its midst, the update; what is seen of both goes into the rehearsal."""
    plan, curve = rehearsal.plan, rehearsal.curve
    started, clock = time.perf_counter(), (await asyncio.to_thread(stage.status))["clock"]
    over = asyncio.Event()
    # The server tells the newest ones alone.
    events: set[tuple[float, str]] = set()

    def now() -> float:
        return (time.perf_counter() - started) * plan.speed

    def note(status: dict[str, Any]) -> None:
        events.update((moment - clock, what) for moment, what in status["events"] if moment >= clock)

    async def watch() -> None:
        while not over.is_set():
            status = await asyncio.to_thread(stage.status)
            replicas = sum(len(variant["replicas"]) for variant in status["variants"])
            at = status["clock"] - clock
            note(status)
            rate = curve.rate(at)
            wanted = max(1, math.ceil(rate / rehearsal.capacity - 1e-9))
            rehearsal.moments.append(Moment(at, replicas, wanted, rate))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def roll_out() -> None:
        while (left := _seconds(plan.profile.rollout_at) - now()) > 0:
            await asyncio.sleep(left / plan.speed)
        rehearsal.began = now()
        while not await asyncio.to_thread(stage.update):
            await asyncio.sleep(0.02)
            rehearsal.began = now()
        while now() < curve.duration + PATIENCE_SECONDS:
            described = await asyncio.to_thread(stage.describe)
            if described["EndpointStatus"] not in UNSETTLED:
                rehearsal.settled = now()
                rehearsal.outcome = _outcome(described)
                break
            await asyncio.sleep(0.1)
        while now() < curve.duration:
            await asyncio.sleep(min(0.5, (curve.duration - now()) / plan.speed))

    load = OpenLoop(stage.url, plan.body, stage.headers)
    rehearsal.answers = load.answers
    moments = arrivals(curve, plan.speed, plan.profile.seed, plan.profile.arrivals == "even")
    watching = asyncio.create_task(watch())
    sending = asyncio.create_task(load.run(moments, over.is_set))
    try:
        await roll_out()
    finally:
        over.set()
        await asyncio.gather(watching, sending)
    rehearsal.late = load.late
    status = await asyncio.to_thread(stage.status)
    note(status)
    rehearsal.rollout = sorted(events)
    failures = [what.partition(": ")[2] for _, what in rehearsal.rollout if what.startswith("RollingBack: ")]
    rehearsal.reason = failures[-1] if failures else ""
    done = [one for one in status["scaling"]["activities"] if one["before"] != one["after"]]
    rehearsal.scaling = [(one["moment"] - clock, one["before"], one["after"], one["why"]) for one in reversed(done)]


def _outcome(described: dict[str, Any]) -> str:
    if described["EndpointStatus"] != "InService":
        return str(described["EndpointStatus"])
    return "completed" if described["EndpointConfigName"] == NEW else "rolled back"


def _seconds(text: str) -> float:
    from model_build.deployment import seconds

    return seconds(text)


def _area(points: list[tuple[float, int]]) -> float:
    return sum(count * (later - at) for (at, count), (later, _) in itertools.pairwise(points))


def clock_text(seconds: float) -> str:
    """`1 h 05 min`, `4 min 10 s`."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s" if minutes else f"{left} s"
