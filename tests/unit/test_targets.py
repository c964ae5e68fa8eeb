"""Instruction sets of instances and machines."""

from __future__ import annotations

import pytest

from model_build import targets


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
