"""Scalable targets, policies, scheduled actions and activities of one region, as the API has them; inputs checked.

Apart from the scaler, which acts on them: these are plain data.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from localcloud.autoscaling.decisions import Last, Limits, Step
from localcloud.autoscaling.schedules import Schedule, ScheduleError, parse
from localcloud.emulation import ACCOUNT
from localcloud.errors import AwsError, UnsupportedError, ValidationException

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
ACTIVITIES = 1000
ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
_RESOURCE = re.compile(r"^endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)$")


@dataclass
class Activity:
    """One scaling activity. `before` and `after` are capacities; the same where nothing scaled."""

    resource: str
    description: str
    cause: str
    start: float
    before: int
    after: int
    policy: str | None = None
    end: float | None = None
    status: str = "InProgress"
    message: str = "Setting desired instance count."
    reasons: list[dict[str, Any]] = field(default_factory=list)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def described(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "ActivityId": self.id,
            "ServiceNamespace": NAMESPACE,
            "ResourceId": self.resource,
            "ScalableDimension": DIMENSION,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": self.start,
            "StatusCode": self.status,
            "StatusMessage": self.message,
        }
        if self.end is not None:
            answer["EndTime"] = self.end
        if self.reasons:
            answer["NotScaledReasons"] = self.reasons
        return answer


@dataclass
class Policy:
    """A scaling policy. `alarms` are (name, ARN) of those made for it; `last` is what its cooldown counts from."""

    name: str
    arn: str
    resource: str
    kind: str
    config: dict[str, Any]
    created: float
    alarms: list[tuple[str, str]] = field(default_factory=list)
    last: Last | None = None

    @property
    def steps(self) -> list[Step]:
        return [
            Step(
                step.get("MetricIntervalLowerBound"),
                step.get("MetricIntervalUpperBound"),
                step["ScalingAdjustment"],
            )
            for step in self.config.get("StepAdjustments", [])
        ]

    def described(self) -> dict[str, Any]:
        return {
            "PolicyARN": self.arn,
            "PolicyName": self.name,
            "ServiceNamespace": NAMESPACE,
            "ResourceId": self.resource,
            "ScalableDimension": DIMENSION,
            "PolicyType": self.kind,
            f"{self.kind}PolicyConfiguration": self.config,
            "Alarms": [{"AlarmName": name, "AlarmARN": arn} for name, arn in self.alarms],
            "CreationTime": self.created,
        }


@dataclass
class Action:
    """A scheduled action. `next` is when it runs next, None once it never will again."""

    name: str
    arn: str
    resource: str
    request: dict[str, Any]
    schedule: Schedule
    created: float
    next: float | None = None

    def plan(self, moment: float) -> None:
        """Sets `next` to the first time after a moment, within StartTime and EndTime."""
        start, end = self.request.get("StartTime"), self.request.get("EndTime")
        begin = float(start) if start is not None else self.created
        found = self.schedule.after(max(moment, begin - 1e-3), begin)
        self.next = None if found is None or (end is not None and found > float(end)) else found

    def described(self) -> dict[str, Any]:
        return {
            **self.request,
            "ScheduledActionARN": self.arn,
            "CreationTime": self.created,
        }


@dataclass
class Target:
    """A scalable target: one variant of one endpoint."""

    resource: str
    arn: str
    limits: Limits
    created: float
    suspended: dict[str, bool] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return split_resource(self.resource)[0]

    @property
    def variant(self) -> str:
        return split_resource(self.resource)[1]

    def is_suspended(self, what: str) -> bool:
        return self.suspended.get(f"{what}Suspended", False)

    def described(self) -> dict[str, Any]:
        names = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
        return {
            "ServiceNamespace": NAMESPACE,
            "ResourceId": self.resource,
            "ScalableDimension": DIMENSION,
            "MinCapacity": self.limits.least,
            "MaxCapacity": self.limits.most,
            "RoleARN": ROLE,
            "CreationTime": self.created,
            "SuspendedState": {name: self.suspended.get(name, False) for name in names},
            "ScalableTargetARN": self.arn,
        }


@dataclass
class Registry:
    """What one region has registered."""

    region: str
    targets: dict[str, Target] = field(default_factory=dict)
    activities: deque[Activity] = field(default_factory=lambda: deque(maxlen=ACTIVITIES))

    def target(self, resource: str) -> Target:
        if resource not in self.targets:
            raise AwsError(
                "ObjectNotFoundException",
                f"No scalable target found for service namespace: {NAMESPACE}, resource ID: {resource}, scalable "
                f"dimension: {DIMENSION}",
            )
        return self.targets[resource]

    def tagged(self, arn: str) -> Target:
        found = next((target for target in self.targets.values() if target.arn == arn), None)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"No scalable target has the ARN {arn}.")
        return found

    def policy_of(self, arn: str) -> tuple[Target, Policy] | None:
        for target in self.targets.values():
            for policy in target.policies.values():
                if policy.arn == arn:
                    return target, policy
        return None

    def new_target(self, resource: str, limits: Limits, now: float) -> Target:
        key = hashlib.sha256(f"{self.region}/{resource}/{DIMENSION}".encode()).hexdigest()[:16]
        arn = f"arn:aws:application-autoscaling:{self.region}:{ACCOUNT}:scalable-target/{key}"
        return Target(resource, arn, limits, now)

    def policy_arn(self, resource: str, name: str) -> str:
        return (
            f"arn:aws:autoscaling:{self.region}:{ACCOUNT}:scalingPolicy:{uuid.uuid4()}:resource/{NAMESPACE}/{resource}"
            f":policyName/{name}"
        )

    def action_arn(self, resource: str, name: str) -> str:
        return (
            f"arn:aws:autoscaling:{self.region}:{ACCOUNT}:scheduledAction:{uuid.uuid4()}:resource/{NAMESPACE}/{resource}"
            f":scheduledActionName/{name}"
        )


def split_resource(resource: str) -> tuple[str, str]:
    """(endpoint, variant) of `endpoint/NAME/variant/NAME`. Raises ValidationException."""
    found = _RESOURCE.match(resource)
    if found is None:
        raise ValidationException(
            f"Unsupported service namespace, resource type or scalable dimension: resource ID {resource} is not of the "
            "form endpoint/NAME/variant/NAME."
        )
    return found["endpoint"], found["variant"]


def check_kind(request: dict[str, Any]) -> None:
    """Raises AwsError for what is not an endpoint's variant."""
    if request["ServiceNamespace"] != NAMESPACE:
        raise UnsupportedError(
            f"The local AWS scales endpoints of SageMaker alone, not '{request['ServiceNamespace']}'."
        )
    if request.get("ScalableDimension", DIMENSION) != DIMENSION:
        raise UnsupportedError(f"The local AWS does not emulate {request['ScalableDimension']}; it has {DIMENSION}.")
    if "ResourceId" in request:
        split_resource(request["ResourceId"])


def check_steps(config: dict[str, Any]) -> None:
    """Raises ValidationException for what AWS refuses of a StepScalingPolicyConfiguration."""
    if "AdjustmentType" not in config:
        raise ValidationException("StepScalingPolicyConfiguration needs AdjustmentType.")
    steps = config.get("StepAdjustments", [])
    if not steps:
        raise ValidationException("At least one StepAdjustment must be given.")
    if "MinAdjustmentMagnitude" in config and config["AdjustmentType"] != "PercentChangeInCapacity":
        raise ValidationException("MinAdjustmentMagnitude is only for the AdjustmentType PercentChangeInCapacity.")
    bounds = []
    for step in steps:
        lower, upper = step.get("MetricIntervalLowerBound"), step.get("MetricIntervalUpperBound")
        if lower is None and upper is None and len(steps) > 1:
            raise ValidationException("A StepAdjustment without bounds leaves no room for others.")
        if lower is not None and upper is not None and lower >= upper:
            raise ValidationException("MetricIntervalUpperBound must be greater than MetricIntervalLowerBound.")
        bounds.append((float("-inf") if lower is None else lower, float("inf") if upper is None else upper))
    bounds.sort()
    for (_, upper), (lower, _) in itertools.pairwise(bounds):
        if upper != lower:
            raise ValidationException("StepAdjustment intervals can neither overlap nor have a gap between them.")


def read_schedule(request: dict[str, Any]) -> Schedule:
    """The schedule of PutScheduledAction. Raises ValidationException."""
    try:
        return parse(request["Schedule"], request.get("Timezone"))
    except ScheduleError as error:
        raise ValidationException(f"Invalid schedule: {error}") from None
