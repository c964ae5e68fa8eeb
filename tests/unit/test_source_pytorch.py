"""Weights that fit a module, and those that do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from model_build.errors import UserError
from model_build.quiet import quiet
from model_build.sources.pytorch import load_module

CODE = """
import torch
from torch import nn

def build(width=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))

def tied():
    module = nn.Module()
    module.one = nn.Linear(3, 3, bias=False)
    module.other = nn.Linear(3, 3, bias=False)
    module.other.weight = module.one.weight
    return module

def wrong():
    return "a string"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "weights_factory.py").write_text(CODE)
    return tmp_path


def save(path: Path, **tensors: tuple[int, ...]) -> Path:
    import torch
    from safetensors.torch import save_file

    save_file({name.replace("__", "."): torch.ones(shape) for name, shape in tensors.items()}, path)
    return path


FITTING = {"0__weight": (4, 3), "0__bias": (4,), "2__weight": (2, 4), "2__bias": (2,)}


def test_weights_of_one_file_replace_every_parameter(project: Path) -> None:
    path = save(project / "w.safetensors", **FITTING)
    module = load_module("weights_factory:build", {}, {"": path}, project)
    assert all(bool((tensor == 1).all()) for tensor in module.state_dict().values())
    assert not module.training


def test_weights_can_come_by_submodule(project: Path) -> None:
    first = save(project / "first.safetensors", weight=(4, 3), bias=(4,))
    second = save(project / "second.safetensors", weight=(2, 4), bias=(2,))
    module = load_module("weights_factory:build", {}, {"0": first, "2": second}, project)
    assert all(bool((tensor == 1).all()) for tensor in module.state_dict().values())
    with pytest.raises(UserError, match=r"no file holds 2\.bias, 2\.weight"):
        load_module("weights_factory:build", {}, {"0": first}, project)
    with pytest.raises(UserError, match=r"has no submodule 'encoder'; it has: 0, 1, 2"):
        load_module("weights_factory:build", {}, {"encoder": first}, project)


def test_everything_that_does_not_fit_is_told_at_once(project: Path) -> None:
    path = save(project / "w.safetensors", **{"0__weight": (4, 5), "0__bias": (4,), "2__weight": (2, 4), "x": (1,)})
    with pytest.raises(UserError) as caught:
        load_module("weights_factory:build", {}, {"": path}, project)
    assert caught.value.message.splitlines() == [
        "w.safetensors: does not fit weights_factory:build:",
        "  0.weight: shape (4, 5) in the file, (4, 3) in the model",
        "  not in the file: 2.bias",
        "  not in the model: x",
    ]


def test_arguments_of_the_factory_change_what_fits(project: Path) -> None:
    path = save(project / "w.safetensors", **FITTING)
    with pytest.raises(UserError, match=r"0\.weight: shape \(4, 3\) in the file, \(9, 3\) in the model"):
        load_module("weights_factory:build", {"width": 9}, {"": path}, project)


def test_tied_weights_need_to_be_in_the_file_once(project: Path) -> None:
    path = save(project / "w.safetensors", one__weight=(3, 3))
    module = load_module("weights_factory:tied", {}, {"": path}, project)
    assert bool((module.get_submodule("other").weight == 1).all())  # type: ignore[union-attr]


def test_a_file_that_is_not_safetensors_is_told_and_never_unpickled(project: Path) -> None:
    import torch

    path = project / "w.safetensors"
    torch.save({"0.weight": torch.ones(4, 3)}, path)
    with pytest.raises(UserError, match=r"w\.safetensors: is not a readable safetensors file"):
        load_module("weights_factory:build", {}, {"": path}, project)


@pytest.mark.parametrize("ending", ["pt", "pth"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_state_dict_of_pytorch_is_read_without_running_code(project: Path, ending: str, wrapped: bool) -> None:
    import torch

    tensors = {name.replace("__", "."): torch.ones(shape) for name, shape in FITTING.items()}
    path = project / f"w.{ending}"
    torch.save({"epoch": 3, "state_dict": tensors} if wrapped else tensors, path)
    module = load_module("weights_factory:build", {}, {"": path}, project)
    assert all(bool((tensor == 1).all()) for tensor in module.state_dict().values())


class RunsCode:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/must-not-be-there",)


def test_a_state_dict_that_would_run_code_is_refused_with_what_it_holds(project: Path) -> None:
    import torch

    torch.save({"0.weight": RunsCode()}, project / "w.pt")
    with pytest.raises(UserError, match=rf"it holds {os.system.__module__}\.system, and only tensors are read"):
        load_module("weights_factory:build", {}, {"": project / "w.pt"}, project)
    assert not Path("/tmp/must-not-be-there").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [([1, 2], "it holds list"), ({"0.weight": 3.0}, r"0\.weight are no tensors"), ({}, "it holds dict")],
)
def test_a_torch_file_that_is_no_state_dict_is_told(project: Path, value: Any, message: str) -> None:
    import torch

    torch.save(value, project / "w.pt")
    with pytest.raises(UserError, match=rf"w\.pt: is not a state dict: {message}"):
        load_module("weights_factory:build", {}, {"": project / "w.pt"}, project)


def test_a_damaged_torch_file_is_told(project: Path) -> None:
    (project / "w.pt").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UserError, match=r"w\.pt: is not a state dict that can be read without running code"):
        load_module("weights_factory:build", {}, {"": project / "w.pt"}, project)


def test_a_torchscript_archive_is_sent_to_its_own_source(project: Path) -> None:
    import torch

    with quiet():
        torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), project / "w.pt")  # type: ignore[no-untyped-call]
    with pytest.raises(UserError, match="is a TorchScript archive") as caught:
        load_module("weights_factory:build", {}, {"": project / "w.pt"}, project)
    assert "source.torchscript" in caught.value.next_step


def test_a_factory_must_return_a_module(project: Path) -> None:
    with pytest.raises(UserError, match=r"weights_factory:wrong returned str, not a torch\.nn\.Module"):
        load_module("weights_factory:wrong", {}, {}, project)
