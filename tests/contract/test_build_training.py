"""Real builds with passes that train: nodes, kills, what is made anew."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_build import build as building
from model_build import loading
from model_build.errors import SpecError

pytestmark = pytest.mark.contract

MODEL = '''
"""A network over pictures of rows, of columns, or of neither."""

import numpy as np
import torch
from torch import nn


def network():
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(16, 3)
    )


def pictures(count, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.integers(64, 128, (count, 8, 8), np.uint8)
    images[labels == 0, ::2] += 100
    images[labels == 1, :, ::2] += 100
    return images, labels
'''
STUDENT = """
from torch import nn


def small(channels):
    return nn.Sequential(nn.Conv2d(1, channels, 3), nn.ReLU(), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(channels, 3))
"""
TRAINING: dict[str, Any] = {"batch_size": 16, "learning_rate": 0.02, "threads": 1}
PRUNED = [{"prune_channels": {"epochs": 3, **TRAINING}}, "export_onnx"]
DISTILLED = [
    {"distill": {"epochs": 2, **TRAINING, "student": {"factory": "pupils.student:small", "args": {"channels": 4}}}},
    "export_onnx",
]
CHAIN = [PRUNED[0], {"distill": {"epochs": 1, **TRAINING}}, "export_onnx"]


def make_project(root: Path, *candidates: Any) -> Path:
    for folder, module, code in (("zoo", "tiny", MODEL), ("pupils", "student", STUDENT)):
        (root / folder).mkdir(parents=True)
        (root / folder / f"{module}.py").write_text(code)
    (root / "specs").mkdir()
    spec = {
        "name": "tiny",
        "task": "image-classification",
        "labels": ["rows", "columns", "neither"],
        "image": {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.25]},
        "source": {"pytorch": {"factory": "zoo.tiny:network"}},
        "data": {
            "evaluation": {"factory": "zoo.tiny:pictures", "args": {"count": 40, "seed": 1}},
            "training": {"factory": "zoo.tiny:pictures", "args": {"count": 160, "seed": 2}},
        },
        "optimize": {"candidates": list(candidates), "choose": "smallest"},
        "measure": {"rounds": 2, "requests": 5},
    }
    (root / "specs" / "tiny.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return root


class Notes:
    """A progress that keeps what was said."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[str] = []

    def step(self, title: str, /) -> Any:
        self.steps.append(title)
        return nullcontext()

    def note(self, text: str, /) -> None:
        self.notes.append(text)


def build(root: Path) -> tuple[building.Outcome, Notes]:
    notes = Notes()
    (outcome,) = building.build_all([], root, notes)
    return outcome, notes


def digests(root: Path) -> dict[str, str]:
    """Of the weights of every node that holds a PyTorch model."""
    found = (root / "build" / ".cache" / "nodes").glob("*/weights.safetensors")
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_pruned_and_distilled_candidates_are_smaller_and_made_from_the_same_weights_anywhere(tmp_path: Path) -> None:
    one, two = (make_project(tmp_path / name, ["export_onnx"], PRUNED, DISTILLED, CHAIN) for name in ("one", "two"))
    outcome, notes = build(one)
    report = json.loads((outcome.directory / "report.json").read_text())
    sizes = [candidate["measurement"]["size_mb"] for candidate in report["candidates"]]
    assert sizes[0] > sizes[1] > sizes[2] and sizes[3] == pytest.approx(sizes[1], rel=0.1)
    assert [note.split("  ")[0] for note in notes.notes if note.startswith("epoch")] == [
        *("epoch 1/3", "epoch 2/3", "epoch 3/3"),
        *("epoch 1/2", "epoch 2/2"),
        "epoch 1/1",
    ]
    assert not list((one / "build" / ".cache" / "work").iterdir())
    again, said = build(one)
    assert not again.built and not any(note.startswith("epoch") for note in said.notes)
    build(two)
    assert digests(one) == digests(two) and len(digests(one)) == 3


def test_a_changed_student_is_trained_anew_and_nothing_else_is(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", PRUNED, DISTILLED)
    outcome, _ = build(root)
    assert "pupils/student.py" in outcome.manifest.inputs
    (root / "pupils" / "student.py").write_text(STUDENT.replace("nn.ReLU", "nn.Sigmoid"))
    _, notes = build(root)
    assert {note.split("  ")[0] for note in notes.notes if note.startswith("epoch")} == {"epoch 1/2", "epoch 2/2"}
    assert not any(step.startswith("prune_channels") for step in notes.steps)


KILLED = """
import os, signal, sys
from contextlib import nullcontext
from pathlib import Path
from model_build import build

class Progress:
    def step(self, title, /):
        return nullcontext()

    def note(self, text, /):
        if text.startswith("epoch 2/"):
            os.kill(os.getpid(), signal.SIGKILL)

build.build_all([], Path(sys.argv[1]), Progress())
"""


def test_a_build_that_was_killed_while_training_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    whole, killed = (make_project(tmp_path / name, PRUNED) for name in ("whole", "killed"))
    build(whole)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(killed)], check=False, timeout=300)
    assert ended.returncode == -9
    assert not digests(killed)
    _, notes = build(killed)
    assert "going on after epoch 2/3" in notes.notes
    assert digests(killed) == digests(whole)


def test_a_pass_that_trains_without_data_is_a_problem_of_the_spec(tmp_path: Path) -> None:
    root = make_project(tmp_path, PRUNED)
    file = root / "specs" / "tiny.yaml"
    values = yaml.safe_load(file.read_text())
    del values["data"]["training"]
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(SpecError, match="prune_channels trains: give data"):
        loading.load(file, root)
