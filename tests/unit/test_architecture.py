"""How a changed PyTorch model is kept and opened again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import training_models as models
from safetensors.torch import save_file
from torch import nn

from model_build import architecture
from model_build.architecture import Architecture, KeepLayers, Resize
from model_build.errors import UserError
from model_build.spec import WeightedFactory

CODE = """
from torch import nn

def build(width=4):
    return nn.Linear(3, width)

def wrong():
    return "a string"
"""


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 4, bias=False)
        self.other = nn.Linear(3, 4, bias=False)
        self.other.weight = self.one.weight
        self.register_buffer("positions", torch.arange(4), persistent=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "students.py").write_text(CODE)
    return tmp_path


def test_a_model_is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    module = models.made()
    with torch.no_grad():
        module.stem[0].weight += 1
    kept = architecture.write(module, Architecture(), tmp_path)
    assert (models.answers(models.reopened(kept)) == models.answers(module)).all()
    assert architecture.read(kept) == Architecture() == architecture.read(models.source())


def test_edits_are_done_again_in_their_order(tmp_path: Path) -> None:
    module = models.made(models.Encoder)
    edits = (KeepLayers(layers="layers", keep=(0, 2, 3)), KeepLayers(layers="layers", keep=(1,)))
    for edit in edits:
        edit.apply(module)
    kept = architecture.write(module, Architecture().edited(edits[0]).edited(edits[1]), tmp_path)
    again = models.reopened(kept, models.Encoder)
    assert len(again.layers) == 1
    assert torch.equal(again.layers[0].linear1.weight, models.made(models.Encoder).layers[2].linear1.weight)


def test_tied_weights_are_kept_once_and_stay_tied(tmp_path: Path) -> None:
    kept = architecture.write(models.made(Tied), Architecture(), tmp_path)
    again = models.reopened(kept, Tied)
    assert torch.equal(again.one.weight, models.made(Tied).one.weight)
    assert again.other.weight is again.one.weight


def test_a_changed_size_is_an_edit_that_gives_the_sizes_back() -> None:
    module = models.made()
    before = architecture.snapshot(module)
    assert not list(architecture.resized(before, module))
    module.left = nn.Conv2d(16, 5, 1)
    (edit,) = architecture.resized(before, module)
    assert edit == Resize(module="left", sizes={"out_channels": 5}, tensors={"weight": (5, 16, 1, 1), "bias": (5,)})
    again = models.made()
    edit.apply(again)
    assert again.left.out_channels == 5 and again.left.weight.shape == (5, 16, 1, 1)
    assert again.left.weight.requires_grad


def test_a_buffer_that_is_not_kept_with_the_weights_cannot_change_its_shape() -> None:
    module = models.made(Tied)
    before = architecture.snapshot(module)
    module.positions = torch.arange(3)
    with pytest.raises(UserError, match="buffer 'positions' of the model changes its shape"):
        list(architecture.resized(before, module))


def test_a_student_comes_from_its_factory_with_its_weights(project: Path) -> None:
    save_file({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, project / "w.safetensors")
    given = WeightedFactory(factory="students:build", args={"width": 2}, weights="w.safetensors")
    module = architecture.made(given, project, "student")
    assert bool((module.weight == 1).all()) and not module.training
    kept = architecture.write(module, Architecture(factory=given.factory, args=given.args), project)
    assert torch.equal(architecture.load(kept.path, None, project).weight, module.weight)


def test_weights_that_do_not_fit_and_a_factory_of_something_else_are_named(project: Path) -> None:
    save_file({"weight": torch.ones(2, 3)}, project / "w.safetensors")
    with pytest.raises(UserError, match=r"student: w\.safetensors does not fit students:build: .*size mismatch"):
        architecture.made(WeightedFactory(factory="students:build", weights="w.safetensors"), project, "student")
    with pytest.raises(UserError, match=r"students:wrong returned str, not a torch\.nn\.Module"):
        architecture.made(WeightedFactory(factory="students:wrong"), project, "student")
