"""A build with nothing to do, 100 models: `python -m bench.noop_build`. The peers are DVC, `make -q` and bare Python.

Every tool has the same 100 inputs of 1 MB and as many outputs of 1 MB, all built before; each run is a new process, and
the tools take turns. DVC is installed from PyPI into an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from bench.outcome import Bar, table, tell

TOOLS = Path(sys.executable).parent
SIDE = 512
"""A square float32 matrix of that side is 1 MB."""
SPEC = """name: {name}
task: tensor
tensor: {{inputs: {{x: {{shape: [{side}]}}}}, outputs: [logits]}}
source: {{onnx: {{path: models/{name}.onnx}}}}
optimize: {{candidates: [[]]}}
measure: {{rounds: 1, requests: 5}}
gates: {{size: {{max_mb: 5}}}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--specs", type=int, default=100)
    parser.add_argument("--runs", type=int, default=15, help="of each tool; DVC takes a third")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        root = Path(folder)
        names = [f"model-{number:03}" for number in range(options.specs)]
        for name in names:
            write_project(root, name)
        (root / "Pulumi.yaml").write_text("name: bench\n")
        slipway = [str(TOOLS / "slipway"), "build"]
        print(f"building {len(names)} models once", file=sys.stderr)
        first = run(slipway, root)
        dvc = prepare_dvc(root, names)
        prepare_make(root, names)
        commands = {
            "slipway build": slipway,
            "dvc repro": [*dvc, "repro", "--quiet"],
            "make -q": ["make", "-q"],
            "python -c pass": [sys.executable, "-c", "pass"],
        }
        seconds: dict[str, list[float]] = {tool: [] for tool in commands}
        for turn in range(options.runs):
            for tool, command in commands.items():
                if tool != "dvc repro" or turn % 3 == 0:
                    seconds[tool].append(run(command, root))
        rebuilt = after_an_edit(slipway, root, names)
    medians = {tool: median(values) for tool, values in seconds.items()}
    rows = [
        (tool, f"{1000 * medians[tool]:.0f}", f"{1000 * min(values):.0f}–{1000 * max(values):.0f}", str(len(values)))
        for tool, values in seconds.items()
    ]
    ratio = medians["dvc repro"] / medians["slipway build"]
    return tell(
        "noop_build",
        {"specs": len(names), "first_build_seconds": first, "seconds": seconds, "rebuilt_after_an_edit": rebuilt},
        table(("nothing to do", "median ms", "range", "runs"), rows),
        [
            Bar("models rebuilt after one spec was edited", len(rebuilt), 1),
            Bar("no-op ms, median", 1000 * medians["slipway build"], 150),
            Bar("times faster than dvc repro", ratio, 30, at_least=True),
        ],
    )


def write_project(root: Path, name: str) -> None:
    """A spec and its model: one matrix, 1 MB, unlike the others'."""
    from onnx import TensorProto, helper, numpy_helper, save

    for folder in ("specs", "models"):
        (root / folder).mkdir(exist_ok=True)
    seed = int(name.rpartition("-")[2])
    weights = np.random.default_rng(seed).standard_normal((SIDE, SIDE), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", SIDE])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    save(model, root / "models" / f"{name}.onnx")
    (root / "specs" / f"{name}.yaml").write_text(SPEC.format(name=name, side=SIDE))


def prepare_dvc(root: Path, names: Sequence[str]) -> list[str]:
    """One stage a model, run once."""
    environment = root / ".dvc-environment"
    uv = str(TOOLS / "uv")
    run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], root)
    run([uv, "pip", "install", "--quiet", "--python", str(environment / "bin" / "python"), "dvc"], root)
    dvc = [str(environment / "bin" / "dvc")]
    stages = [
        f"  {name}:\n    cmd: cp models/{name}.onnx dvc-out/{name}.bin\n"
        f"    deps: [models/{name}.onnx, specs/{name}.yaml]\n    outs: [dvc-out/{name}.bin]\n"
        for name in names
    ]
    (root / "dvc-out").mkdir()
    (root / "dvc.yaml").write_text("stages:\n" + "".join(stages))
    run([*dvc, "init", "--no-scm", "--quiet"], root)
    run([*dvc, "config", "core.analytics", "false"], root)
    run([*dvc, "repro", "--quiet"], root)
    return dvc


def prepare_make(root: Path, names: Sequence[str]) -> None:
    """One rule a model, run once."""
    targets = " ".join(f"make-out/{name}.bin" for name in names)
    rules = [f"make-out/{name}.bin: models/{name}.onnx specs/{name}.yaml\n\tcp $< $@\n" for name in names]
    (root / "make-out").mkdir()
    (root / "Makefile").write_text(f"all: {targets}\n" + "".join(rules))
    run(["make", "--silent"], root)


def after_an_edit(slipway: Sequence[str], root: Path, names: Sequence[str]) -> list[str]:
    """Edits one spec, builds, and gives the names of what was built."""
    spec = root / "specs" / f"{names[len(names) // 2]}.yaml"
    spec.write_text(spec.read_text() + "description: edited\n")
    done = subprocess.run([*slipway, "--json"], cwd=root, check=True, capture_output=True, text=True)
    return [model["name"] for model in json.loads(done.stdout)["models"] if model["built"]]


def run(command: Sequence[str], root: Path) -> float:
    """Seconds that a command took. Ends with its output where it fails."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    took = time.monotonic() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return took


if __name__ == "__main__":
    sys.exit(main())
