"""What SageMaker hosts: a spec's `deploy` → plain arguments of models and endpoint configurations. Pure.

Values that only the engine knows (names of buckets, keys, topics) come in as they are, so that plain text tests it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra import names
from model_build.deployment import MAIN_VARIANT, SHADOW_VARIANT, Deploy, Serverless

# Without it a container that never answers keeps an endpoint in `Creating` for an hour
# (aws/amazon-sagemaker-examples#3432).
STARTUP_SECONDS = 600

# Instances with disks of their own, whose configurations AWS refuses with a key (CreateEndpointConfig, KmsKeyId).
LOCAL_DISKS = re.compile(r"ml\.(\w+dn?|g4dn|g5|g6\w*|gr6|p4\w*|p5\w*|p6\w*|i\w+|trn\w+)\.\w+")


@dataclass(frozen=True)
class Surroundings:
    """Facts about the stack that hosting needs: its key, the network that containers are put into, and the ARN of the
    policy that bounds roles.
    """

    key: Any = None
    subnets: Sequence[str] = ()
    security_groups: Sequence[str] = ()
    permissions_boundary: str | None = None


# What AWS lets a request of an asynchronous endpoint take: an hour, and 1 GB. Our server's own limits are those of
# real-time requests (serving.settings); a stock image reads none of these.
PATIENT = {
    "SLIPWAY_REQUEST_SECONDS": "3600",
    "SLIPWAY_OBJECTIVE_MS": "3600000",
    "SLIPWAY_BODY_SECONDS": "3600",
    "SLIPWAY_MAX_BODY_MB": "1024",
}


@dataclass(frozen=True)
class Topics:
    success: Any = None
    error: Any = None


def environment(deploy: Deploy) -> dict[str, str]:
    """Variables of the container; the spec's own win."""
    return (PATIENT if deploy.endpoint == "async" else {}) | deploy.environment


def network(deploy: Deploy, surroundings: Surroundings) -> dict[str, Any]:
    """Arguments of the model that close its container off; empty where nothing asks for it."""
    found: dict[str, Any] = {}
    if deploy.isolated:
        found["enable_network_isolation"] = True
    if surroundings.subnets and deploy.endpoint != "serverless":  # AWS has none on serverless endpoints
        found["vpc_config"] = {
            "subnets": list(surroundings.subnets),
            "security_group_ids": list(surroundings.security_groups),
        }
    return found


def production_variants(deploy: Deploy, model: Any, count: int) -> list[dict[str, Any]]:
    """The main variant with its `count` of instances, then the others. Their names are constant."""
    if deploy.endpoint == "serverless":
        return [_serverless(deploy.serverless or Serverless(), model)]
    main = _variant(MAIN_VARIANT, model, deploy.instance, count, 1)
    others = [
        _variant(name, model, variant.instance or deploy.instance, variant.instances, variant.weight)
        for name, variant in sorted(deploy.variants.items())
    ]
    return [main, *others]


def shadow_variants(deploy: Deploy, model: Any) -> list[dict[str, Any]]:
    """SageMaker copies the share that a shadow's weight is of the production variant's, which is 1."""
    shadow = deploy.shadow
    if shadow is None:
        return []
    return [_variant(SHADOW_VARIANT, model, shadow.instance or deploy.instance, shadow.instances, shadow.share)]


def _variant(name: str, model: Any, instance: str, count: int, weight: float) -> dict[str, Any]:
    return {
        "variant_name": name,
        "model_name": model,
        "instance_type": instance,
        "initial_instance_count": count,
        "initial_variant_weight": weight,
        "container_startup_health_check_timeout_in_seconds": STARTUP_SECONDS,
    }


def _serverless(size: Serverless, model: Any) -> dict[str, Any]:
    config = {"memory_size_in_mb": size.memory_mb, "max_concurrency": size.max_concurrency}
    if size.provisioned_concurrency:
        config["provisioned_concurrency"] = size.provisioned_concurrency
    return {
        "variant_name": MAIN_VARIANT,
        "model_name": model,
        "initial_variant_weight": 1,
        "serverless_config": config,
    }


def asynchronous(deploy: Deploy, model: str, bucket: Any, topics: Topics, key: Any) -> dict[str, Any] | None:
    """The asynchronous configuration; `bucket` is the stack's as `s3://NAME`."""
    if deploy.endpoint != "async":
        return None
    given = deploy.asynchronous
    told = {name: topic for name, topic in (("success_topic", topics.success), ("error_topic", topics.error)) if topic}
    output = {
        "s3_output_path": _folder(bucket, names.asynchronous(model, "output")),
        "s3_failure_path": _folder(bucket, names.asynchronous(model, "error")),
        **({"notification_config": told} if told else {}),
        **({"kms_key_id": key} if key is not None else {}),
    }
    limit = given.concurrency if given else None
    client = {"client_config": {"max_concurrent_invocations_per_instance": limit}} if limit else {}
    return {"output_config": output, **client}


def capture(deploy: Deploy, model: str, bucket: Any, key: Any) -> dict[str, Any] | None:
    if deploy.capture is None:
        return None
    return {
        "enable_capture": True,
        "initial_sampling_percentage": deploy.capture.percent,
        "destination_s3_uri": _folder(bucket, names.captured(model)),
        "capture_options": [{"capture_mode": "Input"}, {"capture_mode": "Output"}],
        **({"kms_key_id": key} if key is not None else {}),
    }


def _folder(bucket: Any, prefix: str) -> Any:
    """An S3 address without the slash at its end, which SageMaker would double."""
    tail = "/" + prefix.rstrip("/")
    return bucket + tail if isinstance(bucket, str) else bucket.apply(lambda address: address + tail)


def encrypts_volumes(deploy: Deploy) -> bool:
    """Whether a key may be given for the instances' volumes: AWS refuses it beside disks of their own."""
    types = {deploy.instance, *(one.instance for one in deploy.variants.values() if one.instance)}
    if deploy.shadow and deploy.shadow.instance:
        types.add(deploy.shadow.instance)
    return deploy.endpoint != "serverless" and not any(LOCAL_DISKS.fullmatch(kind) for kind in types)


def kept_days(deploys: Mapping[str, Deploy]) -> dict[str, int]:
    """Prefix of the bucket → days after which S3 removes what requests left there."""
    found: dict[str, int] = {}
    for model, deploy in sorted(deploys.items()):
        if deploy.asynchronous or deploy.endpoint == "async":
            found[names.asynchronous(model, "")[:-1]] = deploy.asynchronous.keep_days if deploy.asynchronous else 30
        if deploy.capture:
            found[names.captured(model)] = deploy.capture.keep_days
        if deploy.batch:
            found[names.batch(model)] = deploy.batch.keep_days
    return found


@dataclass(frozen=True)
class Wanted:
    """All that decides what runs, but how many of it: two endpoint configurations with the same are the same."""

    deploy: Deploy
    digest: str
    image: str
    shadow_image: str | None = None
    surroundings: Surroundings = field(default_factory=Surroundings)
    encrypted: bool = False

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits, for the tag that tells a change of scale from a change of anything else."""
        text = json.dumps(
            {
                "digest": self.digest,
                "image": self.image,
                "shadow_image": self.shadow_image,
                "environment": environment(self.deploy),
                "variants": production_variants(self.deploy, "", 0),
                "shadow": shadow_variants(self.deploy, ""),
                "asynchronous": asynchronous(self.deploy, "", "", Topics(), None),
                "notify": self.deploy.asynchronous.model_dump(exclude={"keep_days"})
                if self.deploy.asynchronous
                else None,
                "capture": capture(self.deploy, "", "", None),
                "isolated": self.deploy.isolated,
                "subnets": list(self.surroundings.subnets),
                "security_groups": list(self.surroundings.security_groups),
                "encrypted": self.encrypted,
            },
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]
