"""Instruction sets of instances and machines."""

from __future__ import annotations

import pytest

from model_build import targets
from model_build.passes.base import RoundingConfig


@pytest.mark.parametrize(
    ("instance", "vnni"),
    [
        ("ml.c7i.large", True),
        ("ml.m7i-flex.large", True),
        ("ml.c6i.xlarge", True),
        ("ml.c7a.large", True),
        ("ml.c7g.large", True),
        ("ml.g4dn.xlarge", True),
        ("ml.m5.large", False),  # Skylake or Cascade Lake: as AWS has it
        ("ml.c5.xlarge", False),
        ("ml.c6a.large", False),
        ("ml.g5.xlarge", False),
        ("ml.t2.medium", False),
        ("ml.z99.large", False),  # unknown
        ("ml.m6g.large", True),  # Graviton2: dot products do not saturate
        ("ml.r8g.large", True),
    ],
)
def test_an_instance_has_vnni_only_where_every_machine_of_its_family_has(instance: str, vnni: bool) -> None:
    assert targets.of_instance(instance).vnni is vnni


def test_a_model_is_built_for_the_weakest_of_its_cpus() -> None:
    with_it, without = targets.of_instance("ml.c7i.large"), targets.of_instance("ml.m5.large")
    assert targets.common([with_it, with_it]).vnni
    assert not targets.common([with_it, without]).vnni
    assert not targets.common([]).vnni


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ({"flags": "sse4_2 avx2 avx512f avx512_vnni"}, targets.VNNI),
        ({"flags": "avx2 avx_vnni"}, targets.VNNI),
        ({"flags": "avx2 avx512f"}, targets.PLAIN),
        ({"Features": "fp asimd asimddp"}, targets.ARM),
        ({"Features": "fp asimd asimddp sve i8mm bf16"}, targets.ARM_MATRIX),
        ({}, targets.UNKNOWN),
    ],
)
def test_this_machine_is_known_by_its_flags(
    monkeypatch: pytest.MonkeyPatch, cpuinfo: dict[str, str], expected: object
) -> None:
    monkeypatch.setattr(targets, "_cpuinfo", lambda: cpuinfo)
    monkeypatch.setattr(targets.platform, "system", lambda: "Linux")
    targets.this_machine.cache_clear()
    try:
        assert targets.this_machine() == expected
    finally:
        targets.this_machine.cache_clear()


@pytest.mark.parametrize(
    ("instance", "expected"),
    [("ml.c6g.large", targets.ARM), ("ml.c7g.large", targets.ARM_MATRIX), ("ml.c8g.large", targets.ARM_MATRIX)],
)
def test_a_newer_graviton_has_products_of_matrices_too(instance: str, expected: object) -> None:
    assert targets.of_instance(instance) == expected


@pytest.mark.parametrize("instance", ["ml.c6g.large", "ml.c7g.large"])
def test_weights_keep_all_eight_bits_on_arm_and_lose_one_where_an_old_intel_serves_too(instance: str) -> None:
    config = RoundingConfig()
    assert not config.narrow(targets.of_instance(instance))
    mixed = [targets.of_instance(one) for one in (instance, "ml.c5.large")]
    assert config.narrow(targets.common(mixed))
