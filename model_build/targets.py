"""Which 8-bit arithmetic the CPUs have on which a model is measured and served.

8-bit dot products either add into 32 bits (VNNI on x86, the dot-product extension on Arm) or saturate at 16 bits on the
way (plain AVX2 and AVX-512). With the latter, 8-bit weights lose accuracy silently, unless they have 7 bits.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from model_build.instances import GRAVITON2, GRAVITON_NEWER, family
from model_build.passes.base import InstructionSet

PLAIN = InstructionSet("x86 without VNNI", vnni=False)
VNNI = InstructionSet("x86 with VNNI", vnni=True)
ARM = InstructionSet("Arm with dot product", vnni=True)
ARM_MATRIX = InstructionSet("Arm with dot product and 8-bit matrices", vnni=True)
UNKNOWN = InstructionSet("unknown", vnni=False)

# By instance family, from the "Instance type specifications" of the Amazon EC2 user guide. A family of mixed
# generations counts as its oldest: m5, c5, r5 and t3 run on Skylake, which
# lacks VNNI, or on Cascade Lake, which has it.
_FAMILIES: dict[InstructionSet, tuple[str, ...]] = {
    VNNI: (
        # Cascade Lake
        *("g4dn", "p4d", "p4de", "inf1"),
        # Ice Lake
        *("c6i", "c6id", "c6in", "m6i", "m6id", "m6idn", "m6in", "r6i", "r6id", "r6in", "r6idn", "trn1", "trn1n"),
        # Sapphire Rapids, Granite Rapids
        *("c7i", "m7i", "r7i", "p5en", "trn2", "c8i", "m8i", "r8i"),
        # AMD's Zen 4 and Zen 5
        *("c7a", "m7a", "r7a", "c8a", "m8a", "r8a"),
    ),
    ARM: GRAVITON2,
    ARM_MATRIX: GRAVITON_NEWER,
    PLAIN: (
        *("c4", "m4", "r4", "t2", "p2", "p3", "p3dn"),  # Broadwell and before
        *("c5", "c5d", "c5n", "m5", "m5d", "m5n", "m5dn", "r5", "r5d", "r5n", "r5dn", "t3", "z1d"),
        *("c5a", "c5ad", "m5a", "m5ad", "r5a", "r5ad", "t3a", "g4ad", "g5"),  # AMD's Zen 1 and Zen 2
        *("c6a", "m6a", "r6a", "g6", "g6e", "gr6", "p5", "p5e", "inf2"),  # AMD's Zen 3
    ),
}


def of_instance(instance: str) -> InstructionSet:
    """What every machine of a SageMaker instance type has, `ml.c7i.large`; a family not listed counts as without."""
    return next((one for one, families in _FAMILIES.items() if family(instance) in families), UNKNOWN)


@lru_cache(maxsize=1)
def this_machine() -> InstructionSet:
    """What this machine has, by what the kernel tells; unknown counts as without."""
    flags = set(_cpuinfo().get("flags", _cpuinfo().get("Features", "")).split())
    if flags & {"avx512_vnni", "avx_vnni"}:
        return VNNI
    if {"asimddp", "i8mm"} <= flags:
        return ARM_MATRIX
    if "asimddp" in flags or (platform.system() == "Darwin" and platform.machine() == "arm64"):
        return ARM
    return PLAIN if "avx2" in flags else UNKNOWN


def common(targets: Iterable[InstructionSet]) -> InstructionSet:
    """The one to build for: without VNNI where any is, as what is measured must hold where it is served."""
    every = list(targets)
    return next((one for one in every if not one.vnni), every[0] if every else UNKNOWN)


def cpu_model() -> str:
    """The CPU's name, with the count of its cores that this process may use: latencies of others do not compare."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name = _cpuinfo().get("model name") or platform.processor() or platform.machine()
    family = "/".join(_cpuinfo().get(key, "?") for key in ("cpu family", "model", "stepping"))
    return f"{name} ({platform.machine()}, {family}), {count} cores, {this_machine().name}"


@lru_cache(maxsize=1)
def _cpuinfo() -> dict[str, str]:
    """The first processor's entries of `/proc/cpuinfo`; empty where there is none."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text("utf-8", "replace").partition("\n\n")[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
