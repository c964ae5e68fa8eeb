"""Ways to store a model, side by side: `python -m bench.serialization [--quick]`.

The shipped models' source weights as pickle, joblib, HDF5 and safetensors (a state dict, which needs the model's
code), and whole as TorchScript and ONNX. Each is written in this process and loaded in fresh ones, in interleaved
rounds: bytes, the time to save, the load alone, the time from a process's start to its prediction, peak memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.outcome import Bar, table, tell

ROOT = Path(__file__).parents[1]
MODELS = ("fashion", "news-topics", "announcers")
STATES = ("pickle", "joblib", "hdf5", "safetensors")
RUNS_CODE = {"pickle": "yes", "joblib": "yes", "torchscript": "its own operators"}
NEEDS = {"onnx": "ONNX Runtime", "torchscript": "PyTorch"}
HOLDS = {"onnx": "graph and weights", "torchscript": "program and weights"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one model, two rounds: to see that it runs")
    arguments = parser.parse_args()
    models, rounds = (MODELS[:1], 2) if arguments.quick else (MODELS, arguments.rounds)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name in models:
        with tempfile.TemporaryDirectory() as folder:
            print(f"· {name}", file=sys.stderr, flush=True)
            figures[name] = measure(name, Path(folder), rounds)
    rows = [
        [
            name,
            form,
            f"{one['mb']:.2f}",
            f"{one['save_ms']:.1f}",
            f"{one['load_ms']:.1f}",
            f"{one['first_s']:.2f}",
            f"{one['peak_mib']:.0f}",
            RUNS_CODE.get(form, "no"),
            HOLDS.get(form, "weights"),
            NEEDS.get(form, "PyTorch and the model's code"),
        ]
        for name, forms in figures.items()
        for form, one in forms.items()
    ]
    heading = ["model", "format", "MB", "save ms", "load ms", "first prediction s", "peak MiB", "runs code", "holds"]
    bars = [
        Bar(
            f"{name}: first prediction from ONNX against the fastest other format",
            forms["onnx"]["first_s"] / min(one["first_s"] for form, one in forms.items() if form != "onnx"),
            0.5,
        )
        for name, forms in figures.items()
    ]
    return tell("serialization", figures, table([*heading, "needs"], rows), bars)


def measure(name: str, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Format → bytes in MB, and medians of milliseconds, seconds and MiB."""
    import numpy as np

    from model_build.datasets import example
    from model_build.loading import find, load
    from model_build.sources import open_module

    (path,) = find([name], ROOT)
    spec = load(path, ROOT)
    sys.path.insert(0, str(ROOT))
    opened = open_module(spec, ROOT).load
    assert opened is not None  # noqa: S101  # the shipped ones are PyTorch
    module = opened().eval()
    batch = {key: value[:1] for key, value in example(spec, ROOT).items()}
    np.savez(folder / "example.npz", **batch)  # type: ignore[arg-type]  # keywords are names of arrays
    factory = spec.source.config.factory
    results: dict[str, dict[str, float]] = {}
    for form, write in writers(module, batch).items():
        target = folder / f"model.{form}"
        began = time.perf_counter()
        write(target)
        results[form] = {"save_ms": 1000 * (time.perf_counter() - began), "mb": target.stat().st_size / 1e6}
    loads: dict[str, list[dict[str, float]]] = {form: [] for form in results}
    for _ in range(rounds):
        for form, told in loads.items():
            told.append(_load(form, folder, factory))
    reference = loads["safetensors"][0]["answer"]
    for form, told in loads.items():
        if not np.allclose(told[0]["answer"], reference, rtol=1e-3, atol=1e-3):
            raise SystemExit(f"{name}: {form} answers {told[0]['answer']}, safetensors {reference}")
        for figure in ("load_ms", "first_s", "peak_mib"):
            results[form][figure] = statistics.median(one[figure] for one in told)
    return results


def writers(module: Any, batch: Mapping[str, Any]) -> dict[str, Callable[[Path], None]]:
    import torch

    from model_build.sources.export import WRITERS

    inputs = tuple(torch.from_numpy(value) for value in batch.values())

    def state(form: str) -> Callable[[Path], None]:
        return lambda target: WRITERS[form](dict(module.state_dict()), target)

    def torchscript(target: Path) -> None:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(module, inputs, check_trace=False), str(target))  # type: ignore[no-untyped-call]

    def onnx(target: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(module, inputs, dynamo=True, verbose=False, input_names=list(batch))
        assert program is not None  # noqa: S101  # what it gives without a file
        program.save(str(target))

    return {form: state(form) for form in STATES} | {"torchscript": torchscript, "onnx": onnx}


def _load(form: str, folder: Path, factory: str) -> dict[str, Any]:
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "bench.serialization_load", form, str(folder), factory, str(began)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    sys.exit(main())
