"""A rollout under traffic, rehearsed: on a copy of the local environment, whose clock runs faster, with real replicas.

    copy of what the local AWS keeps → its own server → endpoint in service → traffic → update → report

The copy has the endpoint's own deployment policy, alarms and scaling policies; what breaks there breaks nothing else.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import math
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from localcloud.traffic.arrivals import Curve, arrivals
from localcloud.traffic.open_loop import Answered, OpenLoop
from model_build.errors import UserError
from slipway.console import Console
from slipway.local import CREDENTIALS, Local, client, mendable
from slipway.rehearse_fault import Fault, bad_version
from slipway.rehearse_profile import Profile

SAMPLE_SECONDS = 0.25
START_SECONDS = 300.0
CAPACITY_SECONDS = 2.0
CAPACITY_CLIENTS = 4
# Of the clock, after the traffic's end: a rollout that has not settled by then is told as it is.
PATIENCE_SECONDS = 4 * 3600.0
UNSETTLED = ("Creating", "Updating", "RollingBack")
NEW = "rehearsed"


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
        stage = _Stage(cloud, plan)
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
            asyncio.run(stage.play(rehearsal))
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


class _Stage:
    """The endpoint in the copy."""

    def __init__(self, cloud: str, plan: Plan) -> None:
        self._cloud = cloud
        self._plan = plan
        self._sagemaker = client("sagemaker", cloud)
        self._scaling = client("application-autoscaling", cloud)

    def await_service(self) -> None:
        end = time.monotonic() + START_SECONDS
        while (described := self._describe())["EndpointStatus"] in UNSETTLED:
            if time.monotonic() > end:
                raise UserError(f"{self._plan.endpoint} did not start within {START_SECONDS:g} s")
            time.sleep(0.1)
        if described["EndpointStatus"] != "InService":
            raise UserError(
                f"{self._plan.endpoint} is {described['EndpointStatus']}: {described.get('FailureReason', '')}",
                next_step="mend it and deploy it again: slipway up",
            )

    def check(self) -> None:
        if "AsyncInferenceConfig" in self._describe():
            raise UserError(
                f"{self._plan.endpoint} is asynchronous, and a rehearsal asks real-time endpoints",
                next_step="give the name of another model",
            )

    def _describe(self) -> dict[str, Any]:
        described: dict[str, Any] = self._sagemaker.describe_endpoint(EndpointName=self._plan.endpoint)
        return described

    def _status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._cloud}/_slipway/status", timeout=30) as answer:  # noqa: S310 — loopback
            status = json.load(answer)
        (endpoint,) = (one for one in status["endpoints"] if one["name"] == self._plan.endpoint)
        return {**endpoint, "clock": status["server"]["clock"]}

    async def measure_capacity(self) -> float:
        """Requests a second that one replica answers to a few clients without pause. Raises UserError."""
        import aiohttp

        port = next(replica["port"] for variant in self._status()["variants"] for replica in variant["replicas"])
        url, headers = f"http://127.0.0.1:{port}/invocations", self._headers
        counts, failures = [0] * CAPACITY_CLIENTS, []

        async def ask(session: aiohttp.ClientSession, number: int, end: float) -> None:
            while time.perf_counter() < end:
                async with session.post(url, data=self._plan.body, headers=headers) as response:
                    content = await response.read()
                if response.status != 200:
                    failures.append(content.decode(errors="replace")[:300])
                    return
                counts[number] += 1

        async with aiohttp.ClientSession() as session:
            # What the first request has to do once is no part of it.
            for seconds in (0.3, CAPACITY_SECONDS):
                counts[:] = [0] * CAPACITY_CLIENTS
                end = time.perf_counter() + seconds
                await asyncio.gather(*(ask(session, number, end) for number in range(CAPACITY_CLIENTS)))
        if failures:
            raise UserError(
                f"{self._plan.endpoint} refuses the sample: {failures[0]}", next_step="give another with --sample FILE"
            )
        return max(1.0, sum(counts) / CAPACITY_SECONDS)

    @property
    def _headers(self) -> dict[str, str]:
        return {"content-type": self._plan.content_type, "accept": "application/json"}

    # --- policies -------------------------------------------------------------------------------------------------

    def _scaling_policies(self) -> list[dict[str, Any]]:
        found = self._scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        return list(found)

    def target(self) -> float | None:
        """Requests a second that the endpoint's scaling policy wants one replica to carry; None where none says so."""
        for policy in self._scaling_policies():
            config = policy.get("TargetTrackingScalingPolicyConfiguration", {})
            metric = config.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType", "")
            if metric == "SageMakerVariantInvocationsPerInstance":
                return float(config["TargetValue"]) / 60
        return None

    def policies(self) -> dict[str, Any]:
        """What the endpoint was provisioned with."""
        targets = self._scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        return {
            "deployment": self._describe().get("LastDeploymentConfig"),
            "instances": [[one["MinCapacity"], one["MaxCapacity"]] for one in targets],
            "scaling": [policy["PolicyName"] for policy in self._scaling_policies()],
        }

    # --- the new version ------------------------------------------------------------------------------------------

    def make_version(self) -> None:
        """A configuration beside the present one, of models that are made anew, with the fault where there is one."""
        sagemaker = self._sagemaker
        described = sagemaker.describe_endpoint_config(EndpointConfigName=self._describe()["EndpointConfigName"])
        config = {name: value for name, value in described.items() if name in _CONFIG_MEMBERS}
        for number, variant in enumerate(config["ProductionVariants"], start=1):
            found = sagemaker.describe_model(ModelName=variant["ModelName"])
            model = {name: value for name, value in found.items() if name in _MODEL_MEMBERS}
            if self._plan.fault is not None:
                model["PrimaryContainer"] = self._with_fault(found["PrimaryContainer"], self._plan.fault)
            variant["ModelName"] = f"{NEW}-{number}"
            sagemaker.create_model(ModelName=variant["ModelName"], **model)
        sagemaker.create_endpoint_config(EndpointConfigName=NEW, **config)

    def point_alarms(self) -> None:
        """Alarms of the deployment policy that watch the present configuration by its name watch the new one instead.

        The infra program does the same before it moves an endpoint.
        """
        deployment = self._describe().get("LastDeploymentConfig", {})
        names = [alarm["AlarmName"] for alarm in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])]
        if not names:
            return
        present, cloudwatch = self._describe()["EndpointConfigName"], client("cloudwatch", self._cloud)
        for alarm in cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]:
            queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
            dimensions = [one for metric in (alarm, *queries) for one in metric.get("Dimensions", [])]
            for dimension in dimensions:
                if (dimension["Name"], dimension["Value"]) == ("EndpointConfigName", present):
                    dimension["Value"] = NEW
            cloudwatch.put_metric_alarm(
                **{key: value for key, value in alarm.items() if key in _ALARM_MEMBERS and value not in ([], None)}
            )

    def _with_fault(self, container: dict[str, Any], fault: Fault) -> dict[str, Any]:
        address = container.get("ModelDataUrl")
        if address is None:
            raise UserError("a bad version is made of an artifact in one object of S3, and this model has a folder")
        bucket, _, key = address.removeprefix("s3://").partition("/")
        s3 = client("s3", self._cloud)
        artifact = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.put_object(Bucket=bucket, Key=f"{NEW}/model.tar.gz", Body=bad_version(artifact, fault))
        return {**container, "ModelDataUrl": f"s3://{bucket}/{NEW}/model.tar.gz"}

    def _update(self) -> bool:
        """Begins the rollout; False where AWS refuses it since the endpoint is being scaled. Raises UserError."""
        from botocore.exceptions import ClientError

        deployment = self._describe().get("LastDeploymentConfig")
        more = {"DeploymentConfig": deployment} if deployment else {}
        try:
            # The count that scaling came to is kept, as the infra program does.
            self._sagemaker.update_endpoint(
                EndpointName=self._plan.endpoint, EndpointConfigName=NEW, RetainAllVariantProperties=True, **more
            )
        except ClientError as error:
            said = error.response["Error"].get("Message", "")
            if "in-progress" in said:
                return False
            raise UserError(
                f"{self._plan.endpoint} cannot be updated: {said}",
                next_step="change deploy.rollout or deploy.instances in the spec, then: slipway up",
            ) from None
        return True

    # --- the play -------------------------------------------------------------------------------------------------

    async def play(self, rehearsal: Rehearsal) -> None:
        plan, curve = self._plan, rehearsal.curve
        started, clock = time.perf_counter(), (await asyncio.to_thread(self._status))["clock"]
        over = asyncio.Event()
        # The server tells the newest ones alone.
        events: set[tuple[float, str]] = set()

        def now() -> float:
            return (time.perf_counter() - started) * plan.speed

        def note(status: dict[str, Any]) -> None:
            events.update((moment - clock, what) for moment, what in status["events"] if moment >= clock)

        async def watch() -> None:
            while not over.is_set():
                status = await asyncio.to_thread(self._status)
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
            while not await asyncio.to_thread(self._update):
                await asyncio.sleep(0.02)
                rehearsal.began = now()
            while now() < curve.duration + PATIENCE_SECONDS:
                described = await asyncio.to_thread(self._describe)
                if described["EndpointStatus"] not in UNSETTLED:
                    rehearsal.settled = now()
                    rehearsal.outcome = _outcome(described)
                    break
                await asyncio.sleep(0.1)
            while now() < curve.duration:
                await asyncio.sleep(min(0.5, (curve.duration - now()) / plan.speed))

        load = OpenLoop(f"{self._cloud}/endpoints/{plan.endpoint}/invocations", plan.body, self._headers)
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
        status = await asyncio.to_thread(self._status)
        note(status)
        rehearsal.rollout = sorted(events)
        failures = [what.partition(": ")[2] for _, what in rehearsal.rollout if what.startswith("RollingBack: ")]
        rehearsal.reason = failures[-1] if failures else ""
        done = [one for one in status["scaling"]["activities"] if one["before"] != one["after"]]
        rehearsal.scaling = [(one["moment"] - clock, one["before"], one["after"], one["why"]) for one in reversed(done)]


_CONFIG_MEMBERS = ("ProductionVariants", "ShadowProductionVariants", "DataCaptureConfig", "KmsKeyId")
_ALARM_MEMBERS = (
    "AlarmName",
    "AlarmDescription",
    "ActionsEnabled",
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Dimensions",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "Metrics",
)
_MODEL_MEMBERS = ("PrimaryContainer", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")


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
