"""Building processes that begin with PyTorch imported: what they make, what they need, and that they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from processes import of_session, wait_for

from model_build import stat_index

pytestmark = pytest.mark.contract

CODE = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
"""
SPEC = {
    "name": "m",
    "task": "tensor",
    "tensor": {"inputs": {"input": {"shape": [1, 8, 8]}}, "outputs": ["logits"]},
    "source": {"pytorch": {"factory": "network:build"}},
    "optimize": {"candidates": [["export_onnx"], ["export_onnx", "quantize_dynamic"]]},
    "measure": {"rounds": 1, "requests": 5},
    "gates": {"size": {"max_mb": 1}},
}


def environment(**more: str) -> dict[str, str]:
    without = {name: value for name, value in os.environ.items() if name != "SLIPWAY_BUILD_CACHE"}
    return without | {"PYTHONPATH": str(stat_index.SLIPWAY)} | more


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "specs").mkdir(parents=True)
    (root / "Pulumi.yaml").write_text("name: p\n")
    (root / "network.py").write_text(CODE)
    (root / "specs" / "m.yaml").write_text(yaml.safe_dump(SPEC))
    return root


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "slipway", "build", *arguments],
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def models(build: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in (build / ".cache/nodes").glob("*/model.onnx")}


def test_processes_that_begin_with_pytorch_make_the_same_models_as_one_that_does_not(project: Path) -> None:
    process = start(project)
    _, said = process.communicate()
    assert process.returncode == 0, said
    wait_for(lambda: of_session(process.pid) == [], "all processes end")
    made = re.findall("✓ (.*?)  ", said)
    assert made.index("export_onnx") < made.index("export_onnx → quantize_dynamic") < made.index("measure 3 models")
    assert "Warning" not in said
    (project / "build").rename(project / "before")
    alone = start(project, "-j", "1")
    _, said = alone.communicate()
    assert alone.returncode == 0, said
    assert len(models(project / "build")) == 2
    assert models(project / "build") == models(project / "before")


def test_what_fails_is_told_and_every_process_ends(project: Path) -> None:
    without_any = {"candidates": [["export_onnx"], ["export_onnx", {"quantize_dynamic": {"ops": ["embedding"]}}]]}
    (project / "specs" / "m.yaml").write_text(yaml.safe_dump(SPEC | {"optimize": without_any}))
    process = start(project)
    _, said = process.communicate()
    assert process.returncode == 1
    assert "slipway: m: quantize_dynamic: the model has no layers of the kinds embedding" in said
    assert "Traceback" not in said
    assert "leaked" not in said
    wait_for(lambda: of_session(process.pid) == [], "all processes end")


def test_a_build_that_is_killed_while_pytorch_is_imported_leaves_no_process(project: Path) -> None:
    process = start(project)
    wait_for(lambda: any("forkserver" in command for command in of_session(process.pid)), "PyTorch is being imported")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: of_session(process.pid) == [], "all processes end")


LOOK = """
import json, os, sys
import model_build.preloaded
threads = len(os.listdir("/proc/self/task"))
before = set(sys.modules)
import torch
torch.onnx.export(torch.nn.Linear(3, 2).eval(), (torch.zeros(2, 3),), dynamo=True, verbose=False)
more = sorted(set(sys.modules) - before)
print(json.dumps({"threads": threads, "more": more, "before": len(before)}), file=sys.stderr, flush=True)
os._exit(0)  # as a forked process ends
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted as Linux shows them")
def test_what_is_imported_begins_no_thread_and_is_what_an_export_needs() -> None:
    quiet = environment(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore")
    done = subprocess.run([sys.executable, "-P", "-c", LOOK], env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    looked = json.loads(done.stderr.splitlines()[-1])
    assert looked["threads"] == 1  # a fork would lose the others
    assert len(looked["more"]) < looked["before"] / 10, looked["more"]
