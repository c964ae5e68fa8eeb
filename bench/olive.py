"""Slipway against Microsoft Olive 0.13: `python -m bench.olive [MODEL...]`. Olive runs in an environment of its own.

Both begin cold from the same PyTorch source with the same evaluation data on two threads. What each calls its results
is then measured side by side by one program: the front of accuracy against latency, and the wall time it took. Olive's
search is given as many points as it can use well (POINTS), and three of its faults are mended (see `olive_script`).
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import site
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench import environments
from model_build import datasets, loading, measure, paired, targets
from model_build.charts import front
from model_build.measure import Latency, Score, Subject
from model_build.spec import Measure, Spec
from serving.tasks import TASKS

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "build" / "bench"
ENVIRONMENT = BENCH / "olive"
WORK = BENCH / "olive-work"
MODELS = ("fashion", "news-topics", "announcers")
THREADS = 2
POINTS = 12
"""Of its search space, which it samples by itself: about as many candidates as `optimize: auto` tries."""
SETTINGS = Measure(threads=THREADS, rounds=9, requests=30)
TIME_BAR = 0.5
"""Of Olive's wall time."""
# What a front may be worse by and still be called as good: two processes of one model differ by as much in time, and a
# score by as much where one sample in a thousand is answered otherwise.
SLOWER, LESS_ACCURATE = 1.05, 0.001


@dataclass(frozen=True)
class Run:
    seconds: float
    code: int
    models: Mapping[str, Path]


def main(names: list[str]) -> int:
    python = prepare()
    shutil.rmtree(WORK, ignore_errors=True)
    results = {name: compare(name, python) for name in names or MODELS}
    impossible = {"fashion": out_of_reach("fashion", python)}
    written = {"cpu": targets.cpu_model(), "points": POINTS, "models": results, "impossible": impossible}
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / "olive.json").write_text(json.dumps(written, indent=2) + "\n")
    print(f"\nmeasured on {written['cpu']}, {THREADS} threads\n")
    print("| model | who | seconds | accuracy | p50 ms | MB | what |\n|---|---|---|---|---|---|---|")
    for name, result in results.items():
        for who in ("olive", "slipway"):
            for one in result["fronts"][who]:
                print(
                    f"| {name} | {who} | {result['seconds'][who]:.1f} | {one['accuracy']:.4f} | {one['p50_ms']:.3f} "
                    f"| {one['mb']:.2f} | {one['label']} |"
                )
    missed = 0
    for name, codes in impossible.items():
        held = codes["slipway"] != 0
        missed += not held
        print(f"\n{name}, given a goal out of reach: Olive exits {codes['olive']}, Slipway {codes['slipway']}")
    for name, result in results.items():
        held = result["as_good"] and result["time_ratio"] <= TIME_BAR
        missed += not held
        front_is = "at least as good" if result["as_good"] else f"WORSE than {', '.join(result['unbeaten'])}"
        print(
            f"{'holds ' if held else 'MISSED'} {name}: front {front_is}; "
            f"time ratio {result['time_ratio']:.3f} (bar {TIME_BAR})"
        )
    return 1 if missed else 0


def prepare() -> Path:
    """Python of Olive's environment, which sees this one's packages after its own, so that torch is there once."""
    python = environments.made("olive", ENVIRONMENT, sharing=True)
    # What uv installs may have no bytecode: neither side is timed compiling.
    for folder in (*map(str, ENVIRONMENT.glob("lib/python*/site-packages")), *site.getsitepackages()):
        compileall.compile_dir(folder, quiet=2, workers=0)
    return python


def compare(name: str, python: Path) -> dict[str, Any]:
    """One model by both, and their results side by side."""
    spec = loading.load(ROOT / "specs" / f"{name}.yaml", ROOT)
    data = {part: encoded(spec, part) for part in ("evaluation", "calibration")}
    print(f"· {name}: Olive", file=sys.stderr)
    theirs = run_olive(spec, python, data, WORK / name / "olive", {"type": "max-degradation", "value": 0.005})
    print(f"· {name}: Slipway", file=sys.stderr)
    ours = run_slipway(name, WORK / name / "slipway", {})
    runs = {"olive": theirs, "slipway": ours}
    print(f"· {name}: side by side", file=sys.stderr)
    subjects = [
        Subject(f"{who}: {label}", "onnx", {"path": str(path)})
        for who, run in runs.items()
        for label, path in run.models.items()
    ]
    outputs = TASKS[spec.task].output_names(datasets.serving_config(spec, ROOT))
    latencies, scores = measure.measure(
        subjects, data["evaluation"], outputs, SETTINGS, score=[subject.label for subject in subjects]
    )
    fronts = {who: _front(who, run, latencies, scores) for who, run in runs.items()}
    unbeaten = [
        one["label"]
        for one in fronts["olive"]
        if not any(_as_good(other, one, latencies) for other in fronts["slipway"])
    ]
    return {
        "seconds": {who: round(run.seconds, 1) for who, run in runs.items()},
        "time_ratio": ours.seconds / theirs.seconds,
        "fronts": fronts,
        "as_good": not unbeaten and bool(fronts["slipway"]),
        "unbeaten": unbeaten,
    }


def _front(who: str, run: Run, latencies: Mapping[str, Latency], scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """What nothing of the same tool is both quicker and more accurate than."""
    found: list[dict[str, Any]] = [
        {
            "key": (key := f"{who}: {label}"),
            "label": label,
            "accuracy": scores[key].value,
            "p50_ms": latencies[key].p50,
            "mb": path.stat().st_size / 1e6,
        }
        for label, path in run.models.items()
    ]
    best = front([(one["p50_ms"], one["accuracy"]) for one in found])
    return [one for one in found if (one["p50_ms"], one["accuracy"]) in best]


def _as_good(ours: Mapping[str, Any], theirs: Mapping[str, Any], latencies: Mapping[str, Latency]) -> bool:
    one, other = ([p50 for p50, _ in latencies[model["key"]].rounds] for model in (ours, theirs))
    quick = paired.ratio(one, other).value <= SLOWER
    return quick and ours["accuracy"] >= theirs["accuracy"] - LESS_ACCURATE


def encoded(spec: Spec, part: str) -> Path:
    """The samples of a spec as arrays, which both sides are measured on; made before any clock runs."""
    folder = WORK / spec.name / part
    folder.mkdir(parents=True)
    datasets.write(getattr(spec.data, part), f"data.{part}", spec, ROOT, folder)
    return folder


def run_slipway(name: str, root: Path, changes: Mapping[str, Any]) -> Run:
    """A cold build of the shipped spec in a copy of the project."""
    (root / "specs").mkdir(parents=True)
    shutil.copy(ROOT / "Pulumi.yaml", root)
    shutil.copytree(ROOT / "examples", root / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    values = yaml.safe_load((ROOT / "specs" / f"{name}.yaml").read_text())
    values |= {"measure": {"threads": THREADS}, **changes}
    (root / "specs" / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    command = [sys.executable, "-m", "slipway.cli", "--root", root, "build", name]
    seconds, code = _timed(command, root / "output.log", {})
    models = {}
    if code == 0:
        report = json.loads((root / "build" / name / "report.json").read_text())
        for one in report["candidates"]:
            models[one["label"]] = root / "build/.cache/nodes" / one["passes"][-1]["node"] / "model.onnx"
    return Run(seconds, code, models)


def run_olive(spec: Spec, python: Path, data: Mapping[str, Path], root: Path, goal: Mapping[str, Any]) -> Run:
    """Olive's search over its ONNX conversion and quantization, the transformer optimizations for a text model too."""
    root.mkdir(parents=True)
    config = root / "config.json"
    config.write_text(json.dumps(_config(spec, data, root, goal), indent=2))
    # CI keeps its telemetry from the network, which it else tries before it looks whether it may: ten seconds, offline.
    environment = {"SLIPWAY_BENCH_MODEL": spec.name, "OMP_NUM_THREADS": str(THREADS), "CI": "1"}
    command = [python.parent / "olive", "run", "--config", config]
    seconds, code = _timed(command, root / "output.log", environment)
    models = {}
    footprint = root / "out" / "footprint.json"
    nodes = json.loads(footprint.read_text()) if footprint.is_file() else {}
    for node in nodes.values():
        settings = (node.get("model_config") or node.get("model_config_data") or {}).get("config", {})
        if node.get("metrics") and node.get("from_pass") and settings.get("model_path"):
            path = Path(settings["model_path"])
            models[f"{node['from_pass']} {node['model_id']}"] = path if path.is_file() else path / "model.onnx"
    return Run(seconds, code, models)


def _timed(command: list[Any], log: Path, environment: Mapping[str, str]) -> tuple[float, int]:
    started = time.monotonic()
    with log.open("w") as output:
        code = subprocess.run(
            list(map(str, command)), cwd=log.parent, stdout=output, stderr=output, env={**os.environ, **environment}
        ).returncode
    return time.monotonic() - started, code


def _config(spec: Spec, data: Mapping[str, Path], root: Path, goal: Mapping[str, Any]) -> dict[str, Any]:
    script = str(Path(__file__).with_name("olive_script.py"))
    axes = TASKS[spec.task].input_axes(datasets.serving_config(spec, ROOT))
    example = datasets.example(spec, ROOT)
    threads = {"onnx": {"session_options": {"intra_op_num_threads": THREADS}}}

    def samples(name: str, part: str, **params: Any) -> dict[str, Any]:
        return {
            "name": name,
            "user_script": script,
            "load_dataset_config": {"type": "slipway_samples", "params": {"folder": str(data[part]), **params}},
            "pre_process_data_config": {"type": "slipway_nothing"},
            "post_process_data_config": {"type": "slipway_argmax"},
            "dataloader_config": {"type": "slipway_batches"},
        }

    def metric(kind: str, part: str, **sub_type: Any) -> dict[str, Any]:
        settings = {"inference_settings": threads}
        return {"name": kind, "type": kind, "data_config": part, "sub_types": [sub_type], "user_config": settings}

    accuracy = {
        "name": "accuracy_score",
        "priority": 1,
        "higher_is_better": True,
        "metric_config": {"task": "multiclass", "num_classes": len(spec.labels)},
        "goal": goal,
    }
    passes: dict[str, Any] = {"conversion": {"type": "OnnxConversion", "target_opset": 18}}
    if spec.task == "text-classification":
        passes["transformer"] = {"type": "OrtTransformersOptimization", "model_type": "bert"}
    passes["quantization"] = {"type": "OnnxQuantization", "data_config": "calibration"}
    return {
        "input_model": {
            "type": "PyTorchModel",
            "model_loader": "load",
            "model_script": script,
            "io_config": {
                "input_names": list(example),
                "input_shapes": [list(array.shape) for array in example.values()],
                "input_types": [str(array.dtype) for array in example.values()],
                "output_names": ["logits"],
                "dynamic_axes": {
                    **{name: {str(axis): label for axis, label in one.items()} for name, one in axes.items()},
                    "logits": {"0": "batch"},
                },
            },
        },
        "systems": {
            "here": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "data_configs": [
            samples("evaluation", "evaluation", size=64),
            samples("single", "evaluation", size=1, limit=SETTINGS.requests),
            samples("calibration", "calibration", size=1, limit=200),
        ],
        "evaluators": {
            "both": {
                "metrics": [
                    metric("accuracy", "evaluation", **accuracy),
                    metric("latency", "single", name="p50", priority=2, higher_is_better=False),
                ]
            }
        },
        "passes": passes,
        "search_strategy": {
            "execution_order": "joint",
            "sampler": "tpe",
            "max_iter": POINTS,
            "sampler_config": {"seed": 1},
        },
        "evaluator": "both",
        "host": "here",
        "target": "here",
        "cache_dir": str(root / "cache"),
        "output_dir": str(root / "out"),
        "log_severity_level": 1,
    }


def out_of_reach(name: str, python: Path) -> dict[str, int]:
    """Exit codes of both, given a goal that no model can meet: an accuracy above 1."""
    spec = loading.load(ROOT / "specs" / f"{name}.yaml", ROOT)
    folder = WORK / "impossible"
    data = {part: WORK / name / part for part in ("evaluation", "calibration")}
    for part, path in data.items():
        if not path.is_dir():
            encoded(spec, part)
    print(f"· {name}: a goal out of reach", file=sys.stderr)
    theirs = run_olive(spec, python, data, folder / "olive", {"type": "threshold", "value": 1.01})
    ours = run_slipway(name, folder / "slipway", {"gates": {"accuracy": {"min": 1.01}}})
    return {"olive": theirs.code, "slipway": ours.code}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
