"""Which instances are Arm, and which images are for them."""

from __future__ import annotations

import botocore.session
import pytest

from model_build.instances import GRAVITON2, GRAVITON_NEWER, HOSTED, family, image_is_arm, is_arm


@pytest.mark.parametrize(
    ("instance", "arm"),
    [
        ("ml.c6g.large", True),
        ("ml.c7g.4xlarge", True),
        ("ml.r8g.medium", True),
        ("ml.c7i.large", False),
        ("ml.m7i-flex.large", False),
        ("ml.g6.xlarge", False),
        ("ml.c7gn.large", True),
    ],
)
def test_a_graviton_is_known_by_its_family(instance: str, arm: bool) -> None:
    assert is_arm(instance) is arm


def test_the_families_that_endpoints_can_have_are_those_of_the_api() -> None:
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("ProductionVariantInstanceType")
    listed = {family(instance) for instance in shape.enum}
    assert sorted(listed & {*GRAVITON2, *GRAVITON_NEWER}) == sorted(HOSTED)
    # A family that ends in g, gd or gn is one of ours, or none of Arm.
    graviton = {one for one in listed if one[1:2].isdigit() and one[2:] in ("g", "gd", "gn") and int(one[1]) >= 6}
    assert graviton <= {*GRAVITON2, *GRAVITON_NEWER}


@pytest.mark.parametrize(
    ("image", "arm"),
    [
        ("pytorch-inference-graviton:2.4.0-cpu-py311-ubuntu22.04-sagemaker", True),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/pytorch-inference-arm64:2.6.0", True),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/pytorch-inference-arm64@sha256:" + "0" * 64, True),
        ("huggingface-pytorch-inference:2.6.0-transformers5.5.3-cpu-py312-ubuntu22.04", False),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine-graviton/server:arm64", False),
        ("own", False),
    ],
)
def test_an_image_for_arm_is_known_by_the_name_of_its_repository(image: str, arm: bool) -> None:
    assert image_is_arm(image) is arm
