"""The shipped models against their bars: `python -m bench.shipped` after `slipway build`.

The build measures the source model, ONNX Runtime's fp32 (the candidate `export_onnx`) and every other candidate side by
side, in interleaved rounds of fresh processes; this reads those reports. The peer is ONNX Runtime fp32.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILD = Path(__file__).parents[1] / "build"


@dataclass(frozen=True)
class Bar:
    model: str
    what: str
    limit: float


# Accuracy in points of the metric (0.005 is half a point) that may be lost against fp32; the others are ratios.
BARS = (
    Bar("news-topics", "accuracy lost against ONNX Runtime fp32", 0.005),
    Bar("news-topics", "size ratio to the source", 0.25),
    Bar("news-topics", "p50 ratio to ONNX Runtime fp32", 0.5),
    Bar("fashion", "accuracy lost against ONNX Runtime fp32", 0.005),
    Bar("fashion", "size ratio to the source", 0.1),
    Bar("fashion", "p50 ratio to ONNX Runtime fp32", 0.2),
)


def figures(report: dict[str, Any]) -> dict[str, float]:
    """What the bars are about, out of one report. Latency is p50 at batch 1."""
    candidates = {candidate["label"]: candidate for candidate in report["candidates"]}
    fp32 = candidates["export_onnx"]["measurement"]
    chosen = next(candidate for candidate in report["candidates"] if candidate["chosen"])["measurement"]
    source = report["source"]["measurement"]
    return {
        "accuracy lost against ONNX Runtime fp32": fp32["score"] - chosen["score"],
        "size ratio to the source": chosen["size_mb"] / source["size_mb"],
        "p50 ratio to ONNX Runtime fp32": chosen["latency_p50_ms"] / fp32["latency_p50_ms"],
        "p50 ratio to PyTorch": chosen["latency_p50_ms"] / source["latency_p50_ms"],
    }


def main() -> int:
    models = sorted({bar.model for bar in BARS})
    reports = {
        name: json.loads(path.read_text()) for name in models if (path := BUILD / name / "report.json").is_file()
    }
    missing = sorted(set(models) - reports.keys())
    if missing:
        print(f"not built: {', '.join(missing)}; run: slipway build", file=sys.stderr)
        return 1
    print("| model | p50 ms: PyTorch → ONNX Runtime fp32 → deployed | accuracy | MB |\n|---|---|---|---|")
    for name, report in reports.items():
        fp32 = next(c for c in report["candidates"] if c["label"] == "export_onnx")["measurement"]
        chosen = next(c for c in report["candidates"] if c["chosen"])["measurement"]
        source = report["source"]["measurement"]
        latencies = " → ".join(f"{model['latency_p50_ms']:.3f}" for model in (source, fp32, chosen))
        scores = f"{source['score']:.4f} → {chosen['score']:.4f}"
        print(f"| {name} | {latencies} | {scores} | {source['size_mb']:.2f} → {chosen['size_mb']:.2f} |")
    print("\n| model | score: source → deployed | p50 ms | MB |\n|---|---|---|---|")
    for path in sorted(BUILD.glob("*/report.json")):
        if path.parent.name not in models:
            print(_row(json.loads(path.read_text())))
    print(f"\nmeasured on {next(iter(reports.values()))['environment']['cpu']}\n")
    missed = 0
    for bar in BARS:
        value = figures(reports[bar.model])[bar.what]
        held = value <= bar.limit
        missed += not held
        print(f"{'holds ' if held else 'MISSED'} {bar.model}: {bar.what} {value:.4f} (bar {bar.limit})")
    return 1 if missed else 0


def _row(report: dict[str, Any]) -> str:
    """A model of any task, by the metric that its spec is scored by."""
    source = report["source"]["measurement"]
    chosen = next(candidate for candidate in report["candidates"] if candidate["chosen"])["measurement"]
    details = ", ".join(f"{name} {value:g}" for name, value in chosen.get("details", {}).items())
    return (
        f"| {report['name']} | {chosen['metric']} {source['score']:.4f} → {chosen['score']:.4f}"
        f"{f' ({details})' if details else ''} | {source['latency_p50_ms']:.3f} → {chosen['latency_p50_ms']:.3f} "
        f"| {source['size_mb']:.2f} → {chosen['size_mb']:.2f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
