"""A build's report as `report.json` has it, made up: for the tests of its pages."""

from __future__ import annotations

from typing import Any


def model(p50: float, score: float | None = 0.9, size: float = 4.0, **more: Any) -> dict[str, Any]:
    measurement = {
        "metric": "accuracy",
        "score": score,
        "samples": 100,
        "latency_p50_ms": p50,
        "latency_p95_ms": 2 * p50,
        "memory_peak_mb": 100.0,
        "size_mb": size,
        "threads": 1,
    }
    spread = {"p50_ms": [p50 * 0.9, p50 * 1.1], "p95_ms": [p50 * 1.8, p50 * 2.2]}
    rounds = [[p50, 2 * p50]] * 5
    classes = None if score is None else [[60, 60, 54], [40, 40, 36]]
    return {"measurement": measurement, "spread": spread, "rounds_ms": rounds, "classes": classes, **more}


def report(**changes: Any) -> dict[str, Any]:
    missed = {"gate": "size.max_mb", "limit": 2.0, "measured": 4.0, "passed": False}
    held = {"gate": "accuracy.min", "limit": 0.8, "measured": 0.9, "passed": True}
    rest = {"warnings": [], "dropped": None}
    return {
        "name": "m",
        "description": "Tells <shoes> from shirts.",
        "built_at": "2026-11-24T10:00:00+00:00",
        "choose": "fastest",
        "labels": ["shoe", "shirt"],
        "source": model(4.0),
        "candidates": [
            {"label": "export_onnx", "chosen": False, "gates": [held, missed], **rest, **model(2.0)},
            {"label": "quantized", "chosen": True, "gates": [held], **rest, **model(1.0, size=1.0)},
            {"label": "slower", "chosen": False, "gates": [held], **rest, **model(3.0), "dropped": "it does not pay"},
        ],
        "measure": {"threads": 1, "rounds": 5, "requests": 30},
        "environment": {"cpu": "some CPU", "python": "3.11", "versions": {"torch": "2"}},
        "instruction_set": {"instances": ["ml.m5.large"], "target": "t", "machine": "u", "vnni": False},
        "search": None,
        "steps": [
            {"step": "package", "seconds": 0.25, "cached": False},
            {"step": "export", "seconds": 2, "cached": True},
        ],
    } | changes
