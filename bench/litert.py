"""LiteRT beside ONNX Runtime on the shipped models: `make litert`, then `python -m bench.litert [MODEL...]`.

Each model's candidates, and for each way that they begin the same converted to LiteRT instead, float and dynamic int8;
built, timed in turn and scored by Slipway itself, in a copy of the project, without gates.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from bench.outcome import table, tell
from model_build import build
from model_build.errors import UserError
from model_build.passes import PASSES
from model_build.progress import SILENT

ROOT = Path(__file__).parents[1]
MODELS = ("fashion", "announcers", "news-topics")
EXPORT = "export_onnx"


def main(arguments: list[str]) -> int:
    if find_spec("litert_torch") is None:
        print("LiteRT's converter is not installed; run: make litert", file=sys.stderr)
        return 1
    quick = "--quick" in arguments
    names = [name for name in arguments if name != "--quick"] or MODELS
    with TemporaryDirectory(prefix="slipway-") as scratch:
        results = {name: measured(name, Path(scratch) / name, rounds=3 if quick else 15) for name in names}
    rows = [
        (name, one["label"], f"{one['score']:.4f}", f"{one['p50']:.3f}", f"{one['mb']:.2f}", f"{one['memory']:.0f}")
        for name, found in results.items()
        for one in found
    ]
    shown = table(("model", "candidate", "accuracy", "p50 ms", "MB", "peak memory, MiB"), rows)
    ratios = {name: ratio(found) for name, found in results.items()}
    told = ", ".join(f"{name} {value:.2f}" for name, value in ratios.items())
    return tell("litert", {"models": results, "ratios": ratios}, f"{shown}\nfastest LiteRT / fastest ONNX: {told}", [])


def measured(name: str, root: Path, rounds: int) -> list[dict[str, Any]]:
    """Every candidate's figures from the report of a build."""
    (root / "specs").mkdir(parents=True)
    shutil.copytree(ROOT / "examples", root / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    values = yaml.safe_load((ROOT / f"specs/{name}.yaml").read_text())
    values |= {"gates": {}, "measure": {"rounds": rounds}}
    values["optimize"]["candidates"] = with_litert(values["optimize"]["candidates"])
    (root / f"specs/{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    print(f"· {name}", file=sys.stderr)
    build.build_all([name], root, SILENT)
    report = json.loads((root / f"build/{name}/report.json").read_text())
    return [
        {
            "label": one["label"],
            "litert": PASSES[one["passes"][-1]["name"]].PRODUCES == "litert",
            "score": one["measurement"]["score"],
            "p50": one["measurement"]["latency_p50_ms"],
            "mb": one["measurement"]["size_mb"],
            "memory": one["measurement"]["memory_peak_mb"],
        }
        for one in report["candidates"]
    ]


def with_litert(candidates: list[list[Any]]) -> list[list[Any]]:
    beginnings: list[list[Any]] = []
    for candidate in candidates:
        before = candidate[: candidate.index(EXPORT)]
        if before not in beginnings:
            beginnings.append(before)
    ways = ("convert_litert", {"convert_litert": {"quantize": "dynamic"}})
    return [*candidates, *([*before, way] for before in beginnings for way in ways)]


def ratio(found: list[dict[str, Any]]) -> float:
    """Of the fastest candidates' median latencies, LiteRT's by ONNX Runtime's."""
    fastest = {kind: min(one["p50"] for one in found if one["litert"] is kind) for kind in (True, False)}
    return float(fastest[True] / fastest[False])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.exit(str(error))
