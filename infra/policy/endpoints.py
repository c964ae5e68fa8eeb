"""Rules of SageMaker endpoints: enough instances, encrypted disks, and no network that is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.policy.resources import Rule, Stack, Unknown, Violation, listed, setting

CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
MODEL = "aws:sagemaker/model:Model"
FEWEST = 2


def redundant(stack: Stack) -> Iterator[Violation]:
    for configuration in stack.of(CONFIGURATION):
        if configuration.properties.get("asyncInferenceConfig"):
            continue  # its requests wait in a queue, and it may scale to nothing on purpose
        for variant in listed(configuration.properties.get("productionVariants")):
            count = setting(variant, "initialInstanceCount")
            if setting(variant, "serverlessConfig") or isinstance(count, Unknown):
                continue
            if int(count or 1) < FEWEST:
                name = setting(variant, "variantName")
                yield Violation(
                    configuration.urn, f"variant {name} starts with one instance: one failure takes it down"
                )


def encrypted(stack: Stack) -> Iterator[Violation]:
    for configuration in stack.of(CONFIGURATION):
        key = configuration.properties.get("kmsKeyArn")
        instances = any(
            not setting(variant, "serverlessConfig")
            for variant in listed(configuration.properties.get("productionVariants"))
        )
        if instances and not key and not isinstance(key, Unknown):
            yield Violation(configuration.urn, "names no kmsKeyArn for the disks of its instances")


def isolated(stack: Stack) -> Iterator[Violation]:
    for model in stack.of(MODEL):
        isolation = model.properties.get("enableNetworkIsolation")
        if not _on(isolation):
            yield Violation(model.urn, "its container may reach any network; set network isolation (deploy.network)")


def _on(value: Any) -> bool:
    return value is True or isinstance(value, Unknown)


RULES = (
    Rule(
        "sagemaker-redundant",
        "An endpoint has more than one instance.",
        ("SageMaker.4",),
        redundant,
        "production",
    ),
    Rule(
        "sagemaker-disks-encrypted",
        "Disks of endpoint instances are encrypted with a KMS key of the account.",
        ("CKV_AWS_98",),
        encrypted,
        "nowhere",
    ),
    Rule(
        "sagemaker-network-isolation",
        "A model's container has no network.",
        ("SageMaker.5", "CKV_AWS_370"),
        isolated,
        "nowhere",
    ),
)
