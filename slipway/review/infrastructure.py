"""The engine's preview in words: which resource of which model changes how, and what its users notice. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Operation = Literal["create", "update", "replace", "delete"]

OPERATIONS: Mapping[str, Operation] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "import": "create",
    "import-replacement": "replace",
    "discard": "delete",
    "discard-replaced": "replace",
}
"""Operations of the engine's steps → what a person calls them; others change nothing."""

NAMES: Mapping[str, str] = {
    "aws:appautoscaling/policy:Policy": "scaling policy",
    "aws:appautoscaling/scheduledAction:ScheduledAction": "scaling schedule",
    "aws:appautoscaling/target:Target": "scaling range",
    "aws:budgets/budget:Budget": "budget",
    "aws:cloudwatch/dashboard:Dashboard": "dashboard",
    "aws:cloudwatch/logGroup:LogGroup": "log group",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "alarm",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": "image lifecycle",
    "aws:ecr/repository:Repository": "image repository",
    "aws:iam/role:Role": "role",
    "aws:iam/rolePolicy:RolePolicy": "role's permissions",
    "aws:kms/alias:Alias": "key's alias",
    "aws:kms/key:Key": "encryption key",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:s3/bucketObjectv2:BucketObjectv2": "artifact",
    "aws:sagemaker/endpoint:Endpoint": "endpoint",
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": "endpoint configuration",
    "aws:sagemaker/model:Model": "SageMaker model",
    "aws:sns/topic:Topic": "topic",
    "aws:sns/topicPolicy:TopicPolicy": "topic's policy",
}
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
KEPT_WHEN_REPLACED = {
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration",
    "aws:sagemaker/model:Model",
    "aws:s3/bucketObjectv2:BucketObjectv2",
    "aws:iam/rolePolicy:RolePolicy",
}
"""What every new version replaces: the new one is made beside the old one, and nobody notices."""


@dataclass(frozen=True)
class ResourceChange:
    operation: Operation
    type: str
    name: str
    model: str
    """Empty for what the whole stack shares."""
    properties: tuple[str, ...]
    interrupts: str = ""
    """What users of an endpoint notice; empty where they notice nothing."""

    @property
    def what(self) -> str:
        return NAMES.get(self.type, self.type.rpartition(":")[2] or self.type)


@dataclass(frozen=True)
class Violation:
    """A rule of the policy pack that a resource breaks."""

    rule: str
    resource: str
    message: str
    mandatory: bool


def events(text: str) -> list[dict[str, Any]]:
    """The engine's events from its output, one JSON object a line."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def changes(told: Iterable[Mapping[str, Any]]) -> list[ResourceChange]:
    """What changes, once for each resource. A component is not a resource of the cloud."""
    found: dict[str, ResourceChange] = {}
    for event in told:
        step = event.get("resourcePreEvent", {}).get("metadata", {})
        urn, operation = step.get("urn", ""), OPERATIONS.get(step.get("op", ""))
        if operation is None or urn in found or not type_of(urn).startswith("aws:"):
            continue
        paths = step.get("detailedDiff") or step.get("diffs") or ()
        found[urn] = ResourceChange(
            operation,
            type_of(urn),
            urn.rpartition("::")[2],
            model_of(step),
            tuple(dict.fromkeys(map(_spoken, paths))),
            _interrupts(operation, type_of(urn), step),
        )
    return list(found.values())


def violations(told: Iterable[Mapping[str, Any]]) -> list[Violation]:
    """What the policy pack said, the mandatory rules first."""
    found = [
        Violation(
            said["policyName"],
            said.get("resourceUrn", "").rpartition("::")[2],
            said["message"].removeprefix(f"{said.get('description', '')}\n").strip(),
            said["enforcementLevel"] == "mandatory",
        )
        for event in told
        if (said := event.get("policyEvent"))
    ]
    return sorted(found, key=lambda one: (not one.mandatory, one.rule, one.resource))


def errors(told: Iterable[Mapping[str, Any]]) -> str:
    """What a failed preview said."""
    return "\n".join(
        said["message"].strip()
        for event in told
        if (said := event.get("diagnosticEvent")) and said.get("severity") == "error"
    )


def type_of(urn: str) -> str:
    """The resource's own type; those of its parents are left out."""
    return urn.split("::")[2].rpartition("$")[2]


def model_of(step: Mapping[str, Any]) -> str:
    """The tag that each resource of a model carries, or the component above it."""
    state = step.get("new") or step.get("old") or {}
    tags = (state.get("inputs") or {}).get("tags") or {}
    if isinstance(tags, Mapping) and isinstance(tags.get("slipway:model"), str):
        return str(tags["slipway:model"])
    parent = state.get("parent", "")
    return parent.rpartition("::")[2] if "ModelEndpoint" in parent else ""


def _spoken(path: str) -> str:
    """`productionVariants[0].instanceType` → `instance type`."""
    last = re.sub(r"\[\d+\]", "", path).rpartition(".")[2] or path
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", last).lower()


def _interrupts(operation: Operation, kind: str, step: Mapping[str, Any]) -> str:
    if kind != ENDPOINT:
        return ""
    if operation == "delete":
        return "the endpoint is taken down"
    if operation == "replace":
        reasons = ", ".join(_spoken(reason) for reason in step.get("keys") or ()) or "a property"
        return f"the endpoint is deleted and made anew ({reasons} cannot change in place): no answers in between"
    return ""
