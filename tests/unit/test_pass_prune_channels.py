"""prune_channels on a small network with a residual sum and a concatenation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_models as models
from torch import Tensor, nn

from model_build import architecture
from model_build.errors import UserError
from model_build.passes import export_onnx, prune_channels
from model_build.passes.base import Model

TUNED: dict[str, Any] = {"epochs": 4, "batch_size": 16, "learning_rate": 0.01}


def prune(output: Path, factory: Any = models.Residual, **options: Any) -> Model:
    config = prune_channels.Config(**({"epochs": 0, "round_to": 4, "threads": 1} | options))
    return prune_channels.run(models.source(factory), config, models.context(output))


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_half_of_the_channels_are_gone_and_the_classes_are_not(tmp_path: Path, norm: str) -> None:
    made = models.reopened(prune(tmp_path, norm=norm))
    assert models.answers(made).shape == (64, models.CLASSES)
    sizes = {
        name: getattr(made.get_submodule(name), "out_channels", 0) for name in ("stem.0", "block.0", "left", "right")
    }
    assert sizes == {"stem.0": 8, "block.0": 8, "left": 4, "right": 8}
    assert (made.classifier[0].in_features, made.classifier[0].out_features) == (12, 16)
    assert made.classifier[3].out_features == models.CLASSES
    assert models.size(made) < 0.3 * models.size(models.made())


def test_the_weakest_channels_are_the_ones_to_go(tmp_path: Path) -> None:
    def chain() -> nn.Module:
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, models.CLASSES))
        with torch.no_grad():
            module[1].weight[::2] *= 0.01
            module[3].weight[:, ::2] *= 0.01
        return module

    made, before = models.reopened(prune(tmp_path, chain), chain), models.made(chain)
    assert torch.equal(made[1].weight, before[1].weight[1::2])
    assert torch.equal(made[3].weight, before[3].weight[:, 1::2])


def silent() -> nn.Module:
    """A network half of whose channels are zero, whatever comes in: every even one, or odd one behind the sum."""
    module = models.Residual()
    with torch.no_grad():
        for layer, start in ((module.stem[1], 1), (module.block[1], 1), (module.left, 0), (module.right, 1)):
            layer.weight[start::2] = 0
            layer.bias[start::2] = 0
        module.classifier[0].weight[::2] = 0
        module.classifier[0].bias[::2] = 0
    return module


def test_channels_that_say_nothing_go_through_sums_and_concatenations_and_no_answer_changes(tmp_path: Path) -> None:
    made = models.reopened(prune(tmp_path, silent), silent)
    assert made.right.out_channels == 8
    assert np.allclose(models.answers(made), models.answers(models.made(silent)), atol=1e-5)


def test_channels_spread_by_flattening_are_followed(tmp_path: Path) -> None:
    def flat() -> nn.Module:
        module = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, models.CLASSES))
        with torch.no_grad():
            module[0].weight[::2] = 0
            module[0].bias[::2] = 0
            module[3].weight.view(models.CLASSES, 8, 9)[:, ::2] = 0
        return module

    made = models.reopened(prune(tmp_path, flat), flat)
    assert made[3].in_features == 36
    assert np.allclose(models.answers(made), models.answers(models.made(flat)), atol=1e-5)


def test_what_was_pruned_loads_elsewhere_and_exports(tmp_path: Path) -> None:
    model = prune(tmp_path / "pruned")
    assert (models.answers(models.reopened(model)) == models.answers(model.load())).all()  # type: ignore[misc]
    again = architecture.reopened(model, models.made, tmp_path)
    context = models.context(tmp_path / "onnx", input_axes={"pixels": {0: "batch"}})
    exported = export_onnx.run(again, export_onnx.Config(), context)
    assert exported.path.stat().st_size > 1000


def test_pruning_twice_over_is_two_edits_one_after_the_other(tmp_path: Path) -> None:
    once = prune(tmp_path / "one", ratio=0.5)
    config = prune_channels.Config(epochs=0, ratio=0.5, round_to=1)
    twice = prune_channels.run(
        architecture.reopened(once, models.made, tmp_path), config, models.context(tmp_path / "two")
    )
    made = models.reopened(twice)
    assert made.stem[0].out_channels == 4
    assert (models.answers(made) == models.answers(twice.load())).all()  # type: ignore[misc]


def test_fine_tuning_mends_what_pruning_lost_the_same_way_every_time(tmp_path: Path) -> None:
    tuned = prune(tmp_path / "one", **TUNED)
    assert models.accuracy(models.reopened(tuned)) > max(0.8, models.accuracy(models.reopened(prune(tmp_path / "raw"))))
    assert models.weights(prune(tmp_path / "two", **TUNED)) == models.weights(tuned)


def test_killed_while_fine_tuning_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = models.weights(prune(tmp_path / "whole", **TUNED))
    config = prune_channels.Config(round_to=4, threads=1, **TUNED)
    context = models.context(tmp_path / "killed", work=tmp_path / "work")
    with pytest.raises(models.Killed):
        prune_channels.run(models.source(), config, replace(context, progress=models.killed_after(2)))
    said: list[str] = []
    model = prune_channels.run(models.source(), config, replace(context, progress=said.append))
    assert "going on after epoch 2/4" in said
    assert models.weights(model) == whole


def test_of_all_layers_together_the_share_goes_unevenly(tmp_path: Path) -> None:
    made = models.reopened(prune(tmp_path, scope="global", round_to=1))
    assert models.answers(made).shape == (64, models.CLASSES)
    assert models.size(made) < models.size(models.made())


def test_a_layer_that_is_skipped_keeps_its_channels(tmp_path: Path) -> None:
    made = models.reopened(prune(tmp_path, skip=("left", "classifier")))
    assert made.left.out_channels == 8 and made.classifier[0].out_features == 32
    assert made.right.out_channels == 8 and made.stem[0].out_channels == 8


def test_a_ratio_of_nothing_changes_nothing(tmp_path: Path) -> None:
    model = prune(tmp_path, ratio=0)
    assert architecture.read(model).edits == ()
    assert (models.answers(models.reopened(model)) == models.answers(models.made())).all()


class Fixed(nn.Module):
    """Counts on the sizes that it was written with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.out = nn.Linear(8, models.CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.out(self.conv(pixels).view(-1, 8, 64).mean(2))
        return logits


def test_what_cannot_be_pruned_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Fixed cannot lose channels: ") as caught:
        prune(tmp_path, Fixed, ratio=0.3, round_to=1)
    assert "skip" in caught.value.next_step
    with pytest.raises(UserError, match="no layer can lose 1% of its channels"):
        prune(tmp_path, ratio=0.01, round_to=64)
    with pytest.raises(UserError, match="skip names middle"):
        prune(tmp_path, skip=("middle",))
