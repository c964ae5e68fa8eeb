"""What a change does to each model: its manifests before and after, compared. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from model_build.manifest import GateResult, Manifest, Measurement

Kind = Literal["new", "removed", "artifact", "hosting", "failed"]

FIGURES = {
    "score": ("", True),
    "latency_p95_ms": ("p95 ms", False),
    "memory_peak_mb": ("memory MiB", False),
    "size_mb": ("size MB", False),
    "throughput_rps": ("samples/s", True),
}
"""Field of a measurement → heading (the score's is its metric), and whether more is better."""


@dataclass(frozen=True)
class ModelChange:
    """One model that the change touches."""

    name: str
    kind: Kind
    before: Manifest | None
    after: Manifest | None
    failure: str = ""
    """What the build said, where it failed; its last artifact stays deployed."""

    @property
    def gates(self) -> tuple[GateResult, ...]:
        return self.after.gates if self.after else ()

    @property
    def missed(self) -> list[GateResult]:
        return [gate for gate in self.gates if not gate.passed]

    def figures(self, field: str) -> tuple[float | None, float | None]:
        return _of(self.before, field), _of(self.after, field)


@dataclass(frozen=True)
class Changes:
    models: tuple[ModelChange, ...] = ()
    unchanged: tuple[str, ...] = field(default=())


def compare(
    before: Mapping[str, Manifest],
    after: Mapping[str, Manifest],
    failures: Mapping[str, str],
    environment: str,
    unbuilt: Collection[str] = (),
) -> Changes:
    """Every model of either side.

    `failures`: name → what its build said; it has no manifest in `after`. `unbuilt` are there before, but nothing is
    known of them, since they do not build there.
    """
    changed, unchanged = [], []
    for name in sorted({*before, *after, *failures}):
        old, new = before.get(name), after.get(name)
        kind = _kind(old, new, name in failures, environment)
        if kind == "new" and name in unbuilt:
            kind = "artifact"
        if kind is None:
            unchanged.append(name)
        else:
            changed.append(ModelChange(name, kind, old, new, failures.get(name, "")))
    return Changes(tuple(changed), tuple(unchanged))


def _kind(old: Manifest | None, new: Manifest | None, failed: bool, environment: str) -> Kind | None:
    if failed:
        return "failed"
    if new is None:
        return "removed"
    if old is None:
        return "new"
    if old.artifact.sha256 != new.artifact.sha256:
        return "artifact"
    return "hosting" if old.deployment(environment) != new.deployment(environment) else None


def _of(manifest: Manifest | None, field: str) -> float | None:
    measured: Measurement | None = manifest.chosen if manifest else None
    return getattr(measured, field) if measured else None
