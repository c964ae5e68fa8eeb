"""Application Auto Scaling's API: its operations over the registry of a region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localcloud import emulation, protocol
from localcloud.asgi import Request, Response, json_response
from localcloud.autoscaling import metrics
from localcloud.autoscaling.decisions import Limits
from localcloud.autoscaling.registry import (
    Action,
    Policy,
    Registry,
    Target,
    check_kind,
    check_steps,
    read_schedule,
    split_resource,
)
from localcloud.autoscaling.scaler import Scaler
from localcloud.clock import Clock
from localcloud.errors import AwsError, UnsupportedError, ValidationException

SERVICE = "application-autoscaling"
PAGE = 50

# Whether a variant exists, and whether it may scale to zero; None where there is no such variant.
Describe = Callable[[str, str, str], bool | None]  # region, endpoint, variant


class Operations:
    """The operations of one region."""

    def __init__(self, registry: Registry, clock: Clock, describe: Describe) -> None:
        self.registry = registry
        self._clock = clock
        self._describe = describe

    # --- targets --------------------------------------------------------------------------------------------------

    def register_scalable_target(self, request: dict[str, Any]) -> dict[str, Any]:
        resource = request["ResourceId"]
        known = self.registry.targets.get(resource)
        least = request.get("MinCapacity", known.limits.least if known else None)
        most = request.get("MaxCapacity", known.limits.most if known else None)
        if least is None or most is None:
            raise ValidationException("MinCapacity and MaxCapacity are needed to register a new scalable target.")
        if least > most:
            raise ValidationException("Maximum capacity cannot be less than minimum capacity")
        if least < 0:
            raise ValidationException("MinCapacity must not be negative.")
        self._check_variant(resource, least)
        target = known or self.registry.new_target(resource, Limits(least, most), self._clock.now())
        target.limits = Limits(least, most)
        target.suspended |= request.get("SuspendedState", {})
        target.tags |= request.get("Tags", {})
        self.registry.targets[resource] = target
        return {"ScalableTargetARN": target.arn}

    def _check_variant(self, resource: str, least: int) -> None:
        zero = self._describe(self.registry.region, *split_resource(resource))
        if zero is None:
            raise ValidationException(f"No SageMaker endpoint variant found for resource ID: {resource}")
        if least == 0 and not zero:
            raise ValidationException(
                f"MinCapacity 0 is for asynchronous endpoints; {resource} needs one instance at least."
            )

    def deregister_scalable_target(self, request: dict[str, Any]) -> dict[str, Any]:
        target = self.registry.target(request["ResourceId"])
        for policy in target.policies.values():
            self._delete_alarms(policy)
        del self.registry.targets[target.resource]
        return {}

    def describe_scalable_targets(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = request.get("ResourceIds")
        found = [target for target in self.registry.targets.values() if not wanted or target.resource in wanted]
        return _page(request, "ScalableTargets", [target.described() for target in found])

    # --- policies -------------------------------------------------------------------------------------------------

    def put_scaling_policy(self, request: dict[str, Any]) -> dict[str, Any]:
        target = self.registry.target(request["ResourceId"])
        name = request["PolicyName"]
        known = target.policies.get(name)
        kind = request.get("PolicyType", known.kind if known else "StepScaling")
        config = self._checked_config(kind, request)
        if known is not None and known.kind != kind:
            raise ValidationException(f"Policy {name} is of type {known.kind}; delete it to put one of type {kind}.")
        arn = known.arn if known else self.registry.policy_arn(target.resource, name)
        policy = Policy(name, arn, target.resource, kind, config, known.created if known else self._clock.now())
        policy.last = known.last if known else None
        if known is not None:
            self._delete_alarms(known)
        if kind == "TargetTrackingScaling":
            policy.alarms = self._put_alarms(target, policy)
        target.policies[name] = policy
        described = policy.described()
        return {"PolicyARN": arn, "Alarms": described["Alarms"]}

    def _checked_config(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        if kind == "PredictiveScaling":
            raise UnsupportedError(
                "The local AWS does not emulate PredictiveScaling; AWS has none for SageMaker either."
            )
        member = f"{kind}PolicyConfiguration"
        others = {
            f"{other}PolicyConfiguration" for other in ("StepScaling", "TargetTrackingScaling", "PredictiveScaling")
        }
        if member not in request or request.keys() & (others - {member}):
            raise ValidationException(f"A policy of type {kind} needs {member}, and no other configuration.")
        config: dict[str, Any] = request[member]
        if kind == "StepScaling":
            check_steps(config)
        else:
            metrics.check_tracking(config)
        return config

    def _put_alarms(self, target: Target, policy: Policy) -> list[tuple[str, str]]:
        made: list[tuple[str, str]] = []
        for alarm in metrics.alarms(target, policy.arn, policy.config):
            try:
                made.append((alarm["name"], emulation.put_alarm(self.registry.region, alarm)))
            except emulation.CloudWatchError as error:
                emulation.delete_alarms(self.registry.region, [name for name, _ in made])
                raise ValidationException(f"The metric of policy {policy.name} cannot be watched: {error}") from None
        return made

    def _delete_alarms(self, policy: Policy) -> None:
        emulation.delete_alarms(self.registry.region, [name for name, _ in policy.alarms])

    def delete_scaling_policy(self, request: dict[str, Any]) -> dict[str, Any]:
        target = self.registry.targets.get(request["ResourceId"])
        policy = target.policies.get(request["PolicyName"]) if target else None
        if target is None or policy is None:
            raise AwsError(
                "ObjectNotFoundException",
                f"No scaling policy found for service namespace: sagemaker, resource ID: {request['ResourceId']}, "
                f"scalable dimension: {request['ScalableDimension']}, policy name: {request['PolicyName']}",
            )
        self._delete_alarms(policy)
        del target.policies[policy.name]
        return {}

    def describe_scaling_policies(self, request: dict[str, Any]) -> dict[str, Any]:
        names = request.get("PolicyNames")
        found = [
            policy.described()
            for target in self._targets(request)
            for policy in target.policies.values()
            if not names or policy.name in names
        ]
        return _page(request, "ScalingPolicies", found)

    # --- scheduled actions ----------------------------------------------------------------------------------------

    def put_scheduled_action(self, request: dict[str, Any]) -> dict[str, Any]:
        target = self.registry.target(request["ResourceId"])
        name = request["ScheduledActionName"]
        known = target.actions.get(name)
        merged = {**(known.request if known else {}), **request}
        if "Schedule" not in merged:
            raise ValidationException("Schedule is needed to create a scheduled action.")
        asked = merged.get("ScalableTargetAction", {})
        if not asked:
            raise ValidationException("ScalableTargetAction needs MinCapacity, MaxCapacity or both.")
        if asked.get("MinCapacity", 0) > asked.get("MaxCapacity", float("inf")):
            raise ValidationException("Maximum capacity cannot be less than minimum capacity")
        if "MinCapacity" in asked:
            self._check_variant(target.resource, asked["MinCapacity"])
        now = self._clock.now()
        arn = known.arn if known else self.registry.action_arn(target.resource, name)
        action = Action(name, arn, target.resource, merged, read_schedule(merged), known.created if known else now)
        action.plan(now)
        if action.next is None:
            raise ValidationException(f"The schedule {merged['Schedule']} never comes: it is in the past.")
        target.actions[name] = action
        return {}

    def delete_scheduled_action(self, request: dict[str, Any]) -> dict[str, Any]:
        target = self.registry.targets.get(request["ResourceId"])
        if target is None or request["ScheduledActionName"] not in target.actions:
            raise AwsError(
                "ObjectNotFoundException",
                f"No scheduled action found for service namespace: sagemaker, resource ID: {request['ResourceId']}, "
                f"scheduled action name: {request['ScheduledActionName']}",
            )
        del target.actions[request["ScheduledActionName"]]
        return {}

    def describe_scheduled_actions(self, request: dict[str, Any]) -> dict[str, Any]:
        names = request.get("ScheduledActionNames")
        found = [
            action.described()
            for target in self._targets(request)
            for action in target.actions.values()
            if not names or action.name in names
        ]
        return _page(request, "ScheduledActions", found)

    # --- activities and tags --------------------------------------------------------------------------------------

    def describe_scaling_activities(self, request: dict[str, Any]) -> dict[str, Any]:
        every = request.get("IncludeNotScaledActivities", False)
        found = [
            activity.described()
            for activity in self.registry.activities
            if request.get("ResourceId") in (None, activity.resource) and (every or not activity.reasons)
        ]
        return _page(request, "ScalingActivities", found)

    def tag_resource(self, request: dict[str, Any]) -> dict[str, Any]:
        self.registry.tagged(request["ResourceARN"]).tags.update(request["Tags"])
        return {}

    def untag_resource(self, request: dict[str, Any]) -> dict[str, Any]:
        tags = self.registry.tagged(request["ResourceARN"]).tags
        for key in request["TagKeys"]:
            tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": self.registry.tagged(request["ResourceARN"]).tags}

    def _targets(self, request: dict[str, Any]) -> list[Target]:
        resource = request.get("ResourceId")
        return [target for target in self.registry.targets.values() if resource in (None, target.resource)]


def _page(request: dict[str, Any], member: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise AwsError("InvalidNextTokenException", "The NextToken is not one that this operation gave.")
    start = int(token)
    end = start + min(PAGE, request.get("MaxResults", PAGE))
    answer: dict[str, Any] = {member: found[start:end]}
    if end < len(found):
        answer["NextToken"] = str(end)
    return answer


OPERATIONS: dict[str, Callable[[Operations, dict[str, Any]], dict[str, Any]]] = {
    "RegisterScalableTarget": Operations.register_scalable_target,
    "DeregisterScalableTarget": Operations.deregister_scalable_target,
    "DescribeScalableTargets": Operations.describe_scalable_targets,
    "PutScalingPolicy": Operations.put_scaling_policy,
    "DeleteScalingPolicy": Operations.delete_scaling_policy,
    "DescribeScalingPolicies": Operations.describe_scaling_policies,
    "PutScheduledAction": Operations.put_scheduled_action,
    "DeleteScheduledAction": Operations.delete_scheduled_action,
    "DescribeScheduledActions": Operations.describe_scheduled_actions,
    "DescribeScalingActivities": Operations.describe_scaling_activities,
    "TagResource": Operations.tag_resource,
    "UntagResource": Operations.untag_resource,
    "ListTagsForResource": Operations.list_tags_for_resource,
}


class Autoscaling:
    """Handler of every request to Application Auto Scaling."""

    def __init__(self, scaler: Scaler, clock: Clock, describe: Describe) -> None:
        self._scaler = scaler
        self._clock = clock
        self._describe = describe

    async def __call__(self, request: Request) -> Response:
        operation = protocol.operation_name(request, SERVICE)
        if operation not in OPERATIONS:
            raise protocol.unsupported_operation(SERVICE, operation, list(OPERATIONS))
        content = protocol.parse_input(request, SERVICE, operation)
        if "ServiceNamespace" in content:
            check_kind(content)
        operations = Operations(self._scaler.registry(request.region), self._clock, self._describe)
        answer = OPERATIONS[operation](operations, content)
        return json_response(200, answer, {"content-type": "application/x-amz-json-1.1"})
