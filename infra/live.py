"""What runs at this moment, read from the account when the program runs: counts that an update keeps, and reasons.

Pulumi's state does not know it, and the AWS provider has no function for it, so boto3 asks. The only things changed
here are registrations of scalable targets, which stand in the way of another instance type.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from infra.settings import Settings

DIGEST_TAG, SETTINGS_TAG = "slipway:digest", "slipway:settings"
NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
CALLS_AT_ONCE = 8


class LiveError(Exception):
    """The account cannot be asked; the message says why."""


@dataclass(frozen=True)
class LiveVariant:
    """`desired` instances run or are to run; `configured` is what its endpoint configuration began with."""

    desired: int | None
    configured: int | None
    instance: str | None = None


@dataclass(frozen=True)
class LiveEndpoint:
    """An endpoint, and the tags of the configuration that it runs."""

    configuration: str
    status: str = "InService"
    reason: str = ""
    variants: Mapping[str, LiveVariant] = field(default_factory=dict)
    digest: str | None = None
    settings: str | None = None


class Account:
    """The account of a stack, asked on demand: no client is made before it is needed."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._released: dict[str, list[tuple[str, dict[str, Any]]]] = {}

    def endpoints(self, names: Iterable[str]) -> dict[str, LiveEndpoint]:
        """Those of the named endpoints that exist. Raises LiveError."""
        wanted = set(names)
        if not wanted:
            return {}
        with _told("the endpoints of this stack"):
            pages = (
                self._client("sagemaker")
                .get_paginator("list_endpoints")
                .paginate(NameContains=f"-{self._settings.stack}")
            )
            existing = wanted & {item["EndpointName"] for page in pages for item in page["Endpoints"]}
            with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
                found = dict(zip(sorted(existing), pool.map(self._endpoint, sorted(existing)), strict=True))
        return {name: endpoint for name, endpoint in found.items() if endpoint is not None}

    def endpoint(self, name: str) -> LiveEndpoint | None:
        """One endpoint's configuration, status and reason; None where there is none. Raises LiveError."""
        with _told(f"endpoint {name}"):
            answer = self._describe(name)
        return None if answer is None else _endpoint(answer)

    def ringing(self, alarms: Sequence[str]) -> list[str]:
        """Those of the alarms that are in ALARM. Raises LiveError."""
        with _told("the alarms of this stack"):
            answer = self._client("cloudwatch").describe_alarms(AlarmNames=list(alarms))
        return [alarm["AlarmName"] for alarm in answer["MetricAlarms"] if alarm["StateValue"] == "ALARM"]

    def release_scaling(self, name: str, new: str) -> None:
        """Deregisters the scalable targets whose instance type a new configuration changes.

        SageMaker refuses such an update otherwise (AWS, "Update endpoints that use auto scaling"). Raises LiveError.
        """
        with _told(f"autoscaling of endpoint {name}"):
            answer = self._describe(name)
            if answer is None:
                return
            # Of what is live: after a rollback that is not what was deployed last.
            before, after = self._instance_types(answer["EndpointConfigName"]), self._instance_types(new)
            changed = [variant for variant, kind in before.items() if after.get(variant) != kind]
            if not changed:
                return
            scaling = self._client("application-autoscaling")
            resources = [f"endpoint/{name}/variant/{variant}" for variant in changed]
            targets = scaling.describe_scalable_targets(
                ServiceNamespace=NAMESPACE, ResourceIds=resources, ScalableDimension=DIMENSION
            )["ScalableTargets"]
            for target in targets:
                of = {key: target[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
                self._released.setdefault(name, []).extend(_registration(scaling, target, of))
                scaling.deregister_scalable_target(**of)

    def restore_scaling(self, name: str) -> None:
        """Registers again what `release_scaling` deregistered, for an update that failed. Raises LiveError."""
        with _told(f"autoscaling of endpoint {name}"):
            for operation, arguments in self._released.pop(name, []):
                getattr(self._client("application-autoscaling"), operation)(**arguments)

    def _endpoint(self, name: str) -> LiveEndpoint | None:
        answer = self._describe(name)
        if answer is None:
            return None
        sagemaker = self._client("sagemaker")
        configured = sagemaker.describe_endpoint_config(EndpointConfigName=answer["EndpointConfigName"])
        tags = {
            tag["Key"]: tag["Value"]
            for page in sagemaker.get_paginator("list_tags").paginate(ResourceArn=configured["EndpointConfigArn"])
            for tag in page["Tags"]
        }
        return _endpoint(answer, {one["VariantName"]: one for one in configured["ProductionVariants"]}, tags)

    def _describe(self, name: str) -> Mapping[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            answer: Mapping[str, Any] = self._client("sagemaker").describe_endpoint(EndpointName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException":  # how SageMaker says: there is none
                return None
            raise
        return answer

    def _instance_types(self, configuration: str) -> dict[str, str | None]:
        from botocore.exceptions import ClientError

        try:
            answer = self._client("sagemaker").describe_endpoint_config(EndpointConfigName=configuration)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException":
                return {}
            raise
        return {variant["VariantName"]: variant.get("InstanceType") for variant in answer["ProductionVariants"]}

    def _client(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        with self._lock:
            if service not in self._clients:
                local = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
                self._clients[service] = boto3.client(
                    service,  # type: ignore[call-overload]
                    region_name=self._settings.region,
                    endpoint_url=self._settings.endpoint_url,
                    config=Config(retries={"mode": "adaptive"}, max_pool_connections=CALLS_AT_ONCE),
                    **(local if self._settings.local else {}),
                )
            return self._clients[service]


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What boto3 raises, as a LiveError of one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise LiveError(f"{what}: the account cannot be asked: {error}") from None


def _registration(scaling: Any, target: Mapping[str, Any], of: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The calls that register a target again, with its policies and scheduled actions."""
    kept = {key: target[key] for key in ("MinCapacity", "MaxCapacity", "SuspendedState") if key in target}
    tags = scaling.list_tags_for_resource(ResourceARN=target["ScalableTargetARN"])["Tags"]
    calls = [("register_scalable_target", {**of, **kept, "Tags": tags})]
    asked = {"ServiceNamespace": of["ServiceNamespace"], "ResourceId": of["ResourceId"]}
    for policy in scaling.describe_scaling_policies(**asked)["ScalingPolicies"]:
        kind = policy["PolicyType"]
        body = f"{kind}PolicyConfiguration"
        calls.append(
            ("put_scaling_policy", {**of, "PolicyName": policy["PolicyName"], "PolicyType": kind, body: policy[body]})
        )
    told = ("ScheduledActionName", "Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")
    for action in scaling.describe_scheduled_actions(**asked)["ScheduledActions"]:
        calls.append(("put_scheduled_action", {**of, **{key: action[key] for key in told if key in action}}))
    return calls


def _endpoint(
    answer: Mapping[str, Any],
    configured: Mapping[str, Mapping[str, Any]] | None = None,
    tags: Mapping[str, str] | None = None,
) -> LiveEndpoint:
    tags, configured = tags or {}, configured or {}
    variants = {}
    for variant in answer.get("ProductionVariants", []):
        of = configured.get(variant["VariantName"], {})
        variants[variant["VariantName"]] = LiveVariant(
            variant.get("DesiredInstanceCount"), of.get("InitialInstanceCount"), of.get("InstanceType")
        )
    return LiveEndpoint(
        answer["EndpointConfigName"],
        answer["EndpointStatus"],
        answer.get("FailureReason", ""),
        variants,
        tags.get(DIGEST_TAG),
        tags.get(SETTINGS_TAG),
    )
