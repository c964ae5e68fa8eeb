"""What `slipway build` says of built models. Apart since a no-op says it too, before click is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def line(outcome: Mapping[str, Any]) -> str:
    """What was chosen, and what it does to the source model's measurements. `outcome` is `Outcome.summary`'s."""
    before, after = outcome["source"], outcome["chosen"]
    scored = before["score"] is not None and after["score"] is not None
    score = f" {before['score']:.4f} → {after['score']:.4f}" if scored else " not measured"
    return (
        f"{outcome['name']}: {outcome['candidate']} · {after['metric']}{score}"
        f" · p95 {before['latency_p95_ms']:.2f} → {after['latency_p95_ms']:.2f} ms"
        f" · {before['size_mb']:.1f} → {after['size_mb']:.1f} MB · {outcome['directory']}/report.md"
    )


def as_json(outcomes: Sequence[Mapping[str, Any]], failures: Sequence[str] = ()) -> str:
    """The same for programs: one JSON object with `models`, and `failures` in words."""
    return json.dumps({"format": 1, "models": list(outcomes), "failures": list(failures)}, indent=2, ensure_ascii=False)
