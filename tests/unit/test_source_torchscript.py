"""TorchScript archives: loaded, exported with their loops and branches, and refused where they reach files."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_build.errors import UserError
from model_build.passes import export_onnx
from model_build.passes.base import Context
from model_build.quiet import quiet
from model_build.sources import open_module
from model_build.spec import Spec

SPEC = Spec.model_validate(
    {
        "name": "m",
        "task": "tensor",
        "tensor": {"inputs": {"x": {"shape": [-1, 4]}}, "outputs": ["logits"]},
        "source": {"torchscript": {"path": "m.pt"}},
    }
)
CODE = """
import torch

class Branching(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x):
        for step in range(2):
            x = torch.relu(x) + float(step)
        if x.size(1) > 20:  # tracing would freeze this
            x = x * 2
        return self.linear(x).mean(dim=1)

class Straight(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, values):
        return torch.relu(self.linear(values)).mean(dim=1), values

class Writes(torch.nn.Module):
    def forward(self, x):
        torch.save(x, "stolen.pt")
        return x

class Reads(torch.nn.Module):
    def forward(self, x):
        return x + torch.from_file("/etc/hostname", size=4, dtype=torch.uint8)

class Unknown(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.eigvals(x.matmul(x.transpose(1, 2))).real

for one in (Branching, Straight, Writes, Reads, Unknown):
    model = one().eval()
    made = torch.jit.trace(model, torch.zeros(2, 7, 4)) if one is Straight else torch.jit.script(model)
    torch.jit.save(made, f"{one.__name__}/m.pt")
"""
INPUT = np.random.default_rng(0).normal(size=(2, 7, 4)).astype(np.float32)


def load(project: Path) -> Any:
    load = open_module(SPEC, project).load
    assert load is not None
    return load()


def export(project: Path, **options: Any) -> Path:
    context = Context(
        output=project,
        example=lambda: {"x": INPUT},
        input_axes={"x": {0: "batch", 1: "time"}},
        output_names=("logits",),
    )
    return export_onnx.run(open_module(SPEC, project), export_onnx.Config(**options), context).path


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for each class above. Made in a process of their own, as scripting reads a module's source file."""
    folder = tmp_path_factory.mktemp("archives")
    for name in ("Branching", "Straight", "Writes", "Reads", "Unknown"):
        (folder / name).mkdir()
    (folder / "make.py").write_text(CODE)
    subprocess.run([sys.executable, "-W", "ignore", "make.py"], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("name", ["Branching", "Straight"])
def test_the_exported_model_computes_what_the_archive_does(archives: Path, name: str) -> None:
    import onnx
    import onnxruntime
    import torch

    path = export(archives / name)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with quiet():
        module = torch.jit.load(archives / name / "m.pt")  # type: ignore[no-untyped-call]
    for shape in ((3, 5, 4), (1, 40, 4)):  # the second one takes the script's branch
        x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        with torch.inference_mode():
            result = module(torch.from_numpy(x))
        wanted = (result[0] if isinstance(result, tuple) else result).numpy()
        np.testing.assert_allclose(session.run(["logits"], {"x": x})[0], wanted, atol=1e-5)
    graph = onnx.load(path).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["x", "logits"]
    axes = [one.dim_param or one.dim_value for one in graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["batch", "time", 4]


def test_exporting_twice_gives_the_same_bytes(archives: Path) -> None:
    assert export(archives / "Branching").read_bytes() == export(archives / "Branching").read_bytes()


def test_a_script_that_onnx_cannot_say_is_told(archives: Path) -> None:
    with pytest.raises(UserError, match="the TorchScript Unknown cannot be exported") as caught:
        export(archives / "Unknown")
    assert "source.onnx.path" in caught.value.next_step


@pytest.mark.parametrize(("name", "operator"), [("Writes", "save"), ("Reads", "from_file")])
def test_a_program_that_reaches_files_is_refused_before_it_is_loaded(archives: Path, name: str, operator: str) -> None:
    with pytest.raises(UserError, match=rf"m\.pt: its program calls torch\.{operator}"):
        load(archives / name)


def test_a_state_dict_is_sent_to_its_own_source(tmp_path: Path) -> None:
    import torch

    torch.save({"weight": torch.ones(2)}, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"m\.pt: holds no TorchScript; a state dict goes under source\.pytorch"):
        load(tmp_path)


def test_a_file_that_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"m\.pt: is not a TorchScript archive"):
        load(tmp_path)


def test_an_archive_that_torch_cannot_load_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as made:
        made.writestr("m/code/__torch__.py", "class Broken(Module):\n")
    with pytest.raises(UserError, match=r"m\.pt: torch cannot load this TorchScript archive"):
        load(tmp_path)
