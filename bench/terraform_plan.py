"""A Pulumi state as a Terraform plan in JSON, for tools that read those alone. Pure.

Both providers come from one schema: names differ in their case, and where Terraform has a list of at most one block,
Pulumi has the block itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FORMAT = "1.2"
# Blocks that Terraform writes as lists of one, by the name they have there. Documents in JSON stay text.
BLOCKS = {
    "abort_incomplete_multipart_upload", "apply_server_side_encryption_by_default", "async_inference_config",
    "blue_green_update_policy", "canary_size", "capacity_size", "client_config", "data_capture_config",
    "default_retention", "deployment_config", "encryption_configuration", "expiration", "filter",
    "image_scanning_configuration", "linear_step_size", "noncurrent_version_expiration", "notification_config",
    "output_config", "primary_container", "rolling_update_policy", "rule", "serverless_config",
    "target_tracking_scaling_policy_configuration", "predefined_metric_specification",
    "customized_metric_specification", "step_scaling_policy_configuration", "traffic_routing_configuration",
    "versioning_configuration", "vpc_config", "auto_rollback_configuration",
}  # fmt: skip
# Pulumi's plural for a list of blocks → Terraform's name of each block.
SINGULAR = {
    "rules": "rule", "encryption_configurations": "encryption_configuration",
}  # fmt: skip
# Mappings whose keys are the user's.
MAPS = {"tags", "tags_all", "environment", "dimensions"}
NAMES = {"aws_s3_bucket_objectv2": "aws_s3_object"}


def plan(resources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The plan that would make the AWS resources of `pulumi stack export`'s `deployment.resources`."""
    addresses = dict(_addresses(resources))
    planned, changes, configured = [], [], []
    for resource in resources:
        address = addresses.get(resource["urn"])
        if address is None:
            continue
        kind, name = address.split(".")
        values = _values({**resource.get("inputs", {}), **resource.get("outputs", {})})
        common = {"address": address, "mode": "managed", "type": kind, "name": name}
        planned.append(common | {"provider_name": "aws", "schema_version": 0, "values": values})
        change = {"actions": ["create"], "before": None, "after": values, "after_unknown": {}}
        changes.append(common | {"provider_name": "aws", "change": change})
        configured.append(common | {"provider_config_key": "aws", "expressions": _references(resource, addresses)})
    return {
        "format_version": FORMAT,
        "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": planned}},
        "resource_changes": changes,
        "configuration": {
            "provider_config": {"aws": {"name": "aws"}},
            "root_module": {"resources": configured},
        },
    }


def terraform_type(token: str) -> str:
    """`aws:s3/bucketPolicy:BucketPolicy` → `aws_s3_bucket_policy`."""
    _, module, name = token.split(":")
    found = f"aws_{module.split('/')[0]}_{snake(name)}"
    return NAMES.get(found, found)


def snake(name: str) -> str:
    """`kmsKeyArn` → `kms_key_arn`; an acronym's capitals stay together."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _addresses(resources: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for resource in resources:
        if resource["type"].startswith("aws:"):
            name = re.sub(r"[^A-Za-z0-9_-]", "_", resource["urn"].rpartition("::")[2])
            yield resource["urn"], f"{terraform_type(resource['type'])}.{name}"


def _values(properties: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for key, value in properties.items():
        if key.startswith("__") or value is None:
            continue
        name = SINGULAR.get(snake(key), snake(key))
        values[name] = dict(value) if name in MAPS and isinstance(value, Mapping) else _value(name, value)
    return values


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        if any(key.startswith("4dabf18193072939515e22adb298388d") for key in value):
            return None  # an asset or a secret: nothing that a check looks at
        inner = _values(value)
        return [inner] if name in BLOCKS else inner
    if isinstance(value, list):
        return [_values(one) if isinstance(one, Mapping) else one for one in value]
    return value


def _references(resource: Mapping[str, Any], addresses: Mapping[str, str]) -> dict[str, Any]:
    """Which resources an argument comes from: that is how checks find a bucket's parts."""
    found: dict[str, Any] = {}
    for key, urns in (resource.get("propertyDependencies") or {}).items():
        named = [addresses[urn] for urn in urns if urn in addresses]
        if named:
            found[snake(key)] = {"references": [text for one in named for text in (f"{one}.id", one)]}
    return found
