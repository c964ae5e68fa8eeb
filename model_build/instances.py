"""Which SageMaker instance types have Arm CPUs, AWS's Graviton, and what runs there.

The standard library alone, since `infra` names images by it; `targets` says what arithmetic such CPUs have.
"""

from __future__ import annotations

GRAVITON2 = ("c6g", "c6gd", "c6gn", "m6g", "m6gd", "r6g", "r6gd", "t4g", "g5g")
GRAVITON_NEWER = (
    *("c7g", "c7gd", "c7gn", "m7g", "m7gd", "r7g", "r7gd"),
    *("c8g", "c8gd", "m8g", "m8gd", "r8g", "r8gd"),
)
"""Graviton3 and 4, which besides 8-bit dot products have those of matrices (i8mm), bfloat16 and SVE."""
HOSTED = ("c6g", "c6gd", "c6gn", "c7g", "c8g", "m6g", "m6gd", "m8g", "r6g", "r6gd", "r7gd", "r8g")
"""Families of the two that endpoints can have: `ProductionVariantInstanceType` of SageMaker's API, November 2026."""
IMAGES = ("-graviton", "-arm64")
"""How the names of AWS's inference images for Arm end; all others are for Intel and AMD."""


def family(instance: str) -> str:
    """`m7i` of `ml.m7i-flex.large`."""
    return instance.removeprefix("ml.").partition(".")[0].partition("-")[0]


def is_arm(instance: str) -> bool:
    return family(instance) in (*GRAVITON2, *GRAVITON_NEWER)


def image_is_arm(image: str) -> bool:
    """Whether the repository of an image, or of its URI, is named as AWS names those for Arm."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return name.endswith(IMAGES)
