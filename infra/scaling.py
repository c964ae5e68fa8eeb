"""How many instances an endpoint runs, as arithmetic apart from resources."""

from __future__ import annotations

from model_build.manifest import InstanceRange

METRIC = "SageMakerVariantInvocationsPerInstance"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
NAMESPACE = "sagemaker"


def scales(instances: InstanceRange) -> bool:
    return instances.max > instances.min


def initial_count(instances: InstanceRange) -> int:
    """Instances that a new endpoint configuration starts with.

    An update resets a scaled-out endpoint to this count (terraform-provider-aws#48990). Whoever carries the live
    count over gives it here; until then it is the range's minimum.
    """
    return instances.min
