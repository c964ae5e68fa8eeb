"""A model leaves in each format and comes back through the source that reads it, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model_build.errors import UserError
from model_build.sources import open_module
from model_build.sources.export import ENDINGS, WRITERS, export
from model_build.spec import Spec
from slipway import cli
from slipway.commands.export_state import FORMATS

pytestmark = pytest.mark.contract

CODE = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(5, 3)
        kinds = (nn.Linear(3, 3).to(torch.bfloat16), nn.BatchNorm1d(3).half(), nn.Linear(3, 3).double())
        self.body = nn.Sequential(*kinds)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("scale", torch.tensor(0.1))
        self.register_buffer("none", torch.zeros(0, 2))
        if seed:  # what only a trained one has
            self.body[1].num_batches_tracked += 41
            self.mask[:] = False
            self.scale += 1

def build(seed=0):
    return Network(seed)

def empty():
    return nn.ReLU()
"""


def spec(**source: Any) -> Spec:
    return Spec.model_validate(
        {"name": "m", "task": "tensor", "tensor": {"inputs": {"x": {"shape": [4]}}}, "source": source}
    )


TRAINED = spec(pytorch={"factory": "exported_factory:build", "args": {"seed": 7}})
BACK = {
    "safetensors": {"pytorch": {"factory": "exported_factory:build", "weights": "m.safetensors"}},
    "hdf5": {"hdf5": {"factory": "exported_factory:build", "path": "m.h5"}},
    "joblib": {"joblib": {"path": "m.joblib", "allow_code": True, "module": {"factory": "exported_factory:build"}}},
    "pickle": {"pickle": {"path": "m.pkl", "allow_code": True, "module": {"factory": "exported_factory:build"}}},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "exported_factory.py").write_text(CODE)
    (tmp_path / "Pulumi.yaml").write_text("name: m\n")
    return tmp_path


def state(one: Spec, project: Path) -> dict[str, Any]:
    load = open_module(one, project).load
    assert load is not None
    return dict(load().state_dict())


@pytest.mark.parametrize("to", FORMATS)
def test_a_state_dict_comes_back_as_it_left(project: Path, to: str) -> None:
    import torch

    target = project / f"m{ENDINGS[to]}"
    tensors, size = export(TRAINED, project, to, target)
    assert size == target.stat().st_size
    wanted = state(TRAINED, project)
    assert tensors == len(wanted) - 1  # tied weights leave once
    untrained = state(spec(pytorch={"factory": "exported_factory:build"}), project)
    assert any(not torch.equal(untrained[name], wanted[name]) for name in wanted)
    got = state(spec(**BACK[to]), project)
    assert list(got) == list(wanted)
    for name, tensor in wanted.items():
        assert got[name].dtype == tensor.dtype and torch.equal(got[name], tensor), name


@pytest.mark.parametrize("to", FORMATS)
def test_exporting_twice_gives_the_same_bytes(project: Path, to: str) -> None:
    for name in ("one", "two"):
        export(TRAINED, project, to, project / name / f"m{ENDINGS[to]}")
    first, second = ((project / name / f"m{ENDINGS[to]}").read_bytes() for name in ("one", "two"))
    assert first == second


def test_the_command_offers_every_format() -> None:
    assert set(FORMATS) == set(WRITERS) == set(ENDINGS) == set(BACK)


def test_a_file_that_exists_is_kept(project: Path) -> None:
    (project / "m.h5").write_text("mine")
    with pytest.raises(UserError, match=r"m\.h5: exists already"):
        export(TRAINED, project, "hdf5", project / "m.h5")
    assert (project / "m.h5").read_text() == "mine"


def test_a_source_without_a_state_dict_is_told(project: Path) -> None:
    for one in (spec(onnx={"path": "m.onnx"}), spec(pickle={"path": "m.pkl", "allow_code": True})):
        with pytest.raises(UserError, match="becomes ONNX, and has no state dict"):
            export(one, project, "hdf5", project / "m.h5")
    with pytest.raises(UserError, match="there is nothing to export"):
        export(spec(pytorch={"factory": "exported_factory:empty"}), project, "hdf5", project / "m.h5")


def test_a_folder_that_cannot_be_written_is_told_and_nothing_half_written_is_left(project: Path) -> None:
    (project / "taken").write_text("")
    with pytest.raises(UserError, match="cannot be written: "):
        export(TRAINED, project, "hdf5", project / "taken" / "m.h5")
    export(TRAINED, project, "hdf5", project / "m.h5")
    assert not [path for path in project.iterdir() if path.name.endswith(".partial")]


def test_the_command_writes_the_file_and_warns_of_formats_that_run_code(project: Path) -> None:
    (project / "specs").mkdir()
    (project / "specs" / "m.yaml").write_text(
        "name: m\ntask: tensor\ntensor: {inputs: {x: {shape: [4]}}}\n"
        'source: {pytorch: {factory: "exported_factory:build"}}\n'
    )
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    for to, warned in (("hdf5", False), ("pickle", True)):
        result = subprocess.run(
            [sys.executable, "-m", "slipway.cli", "export-state", "m", "--to", to],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(f"✓ m{ENDINGS[to]}: ")
        assert ("can run code" in result.stderr) == warned
        assert (project / f"m{ENDINGS[to]}").is_file()
    shown = subprocess.run(
        [sys.executable, "-m", "slipway.cli", "export-state", "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pickle and joblib files can run code when they are loaded" in " ".join(shown.stdout.split())
