"""prune_weights on small PyTorch modules."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import training_models as models
from torch import nn

from model_build.errors import UserError
from model_build.passes import prune_weights
from model_build.passes.base import Model

LAYERS = ("stem.0", "block.0", "left", "right", "classifier.0", "classifier.3")


def prune(output: Path, model: Model | None = None, **options: Any) -> Model:
    config = prune_weights.Config(threads=1, **options)
    return prune_weights.run(model or models.source(), config, models.context(output))


def zeros(module: nn.Module) -> dict[str, float]:
    return {name: float((module.get_submodule(name).weight == 0).float().mean()) for name in LAYERS}


def test_the_smallest_weights_of_all_layers_become_zero_and_the_others_stay(tmp_path: Path) -> None:
    made, before = models.reopened(prune(tmp_path, ratio=0.6)), models.made()
    kept = torch.cat([made.get_submodule(name).weight.flatten() for name in LAYERS])
    old = torch.cat([before.get_submodule(name).weight.flatten() for name in LAYERS])
    assert float((kept == 0).float().mean()) == pytest.approx(0.6, abs=0.001)
    assert torch.equal(kept[kept != 0], old[kept != 0])
    assert old[kept == 0].abs().max() <= old[kept != 0].abs().min()
    assert models.answers(made).shape == (64, 3)


def test_of_each_layer_the_same_share_can_go(tmp_path: Path) -> None:
    assert all(
        share == pytest.approx(0.5, abs=0.02)
        for share in zeros(models.reopened(prune(tmp_path, scope="layer"))).values()
    )


def test_blocks_go_as_a_whole_and_by_the_norm_that_is_asked_for(tmp_path: Path) -> None:
    module = nn.Linear(7, 1)
    with torch.no_grad():
        # Sums of magnitudes: 3, 2.4; sums of squares: 3, 5.76. The last block is shorter, and judged by its mean.
        module.weight.copy_(torch.tensor([[1.0, 1, 1, 2.4, 0, 0, 9]]))
    source = Model("pytorch", Path(), load=lambda: module)
    config: dict[str, Any] = {"block": 3, "ratio": 0.34}
    kept = {
        norm: prune_weights._masks([module.weight.detach()], prune_weights.Config(norm=norm, **config))[0].tolist()
        for norm in ("l1", "l2")
    }
    assert kept == {"l1": [[1, 1, 1, 0, 0, 0, 1]], "l2": [[0, 0, 0, 1, 1, 1, 1]]}
    prune(tmp_path, source, norm="l1", **config)
    assert module.weight.tolist() == [[1, 1, 1, 0, 0, 0, 9]]


def test_the_download_shrinks_and_the_file_does_not_and_the_notes_say_so(tmp_path: Path) -> None:
    said: list[str] = []
    context = replace(models.context(tmp_path / "pruned"), progress=said.append)
    pruned = models.weights(prune_weights.run(models.source(), prune_weights.Config(ratio=0.8), context))
    whole = models.weights(prune(tmp_path / "whole", ratio=0))
    assert len(pruned) == len(whole)
    assert len(gzip.compress(pruned)) < 0.5 * len(gzip.compress(whole))
    assert said == ["80% of the weights are zero: only the download shrinks, not time or memory"]


def test_fine_tuning_holds_the_zeros_and_mends_the_rest(tmp_path: Path) -> None:
    model = prune(tmp_path / "one", ratio=0.7, epochs=6, batch_size=16, learning_rate=0.01)
    made = models.reopened(model)
    shares = zeros(made)
    assert shares == zeros(models.reopened(prune(tmp_path / "plain", ratio=0.7)))
    assert models.accuracy(made) > 0.8
    again = prune(tmp_path / "two", ratio=0.7, epochs=6, batch_size=16, learning_rate=0.01)
    assert models.weights(again) == models.weights(model)


def test_what_is_skipped_stays_whole(tmp_path: Path) -> None:
    shares = zeros(models.reopened(prune(tmp_path, skip=("classifier", "left"))))
    assert shares["left"] == shares["classifier.0"] == shares["classifier.3"] == 0 < shares["right"]


def test_a_ratio_of_nothing_changes_nothing(tmp_path: Path) -> None:
    assert (models.answers(models.reopened(prune(tmp_path, ratio=0))) == models.answers(models.made())).all()


def test_a_path_that_is_not_there_and_a_model_without_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="skip names middle, which the model does not have"):
        prune(tmp_path, skip=("middle",))
    with pytest.raises(UserError, match="no linear layers or convolutions"):
        prune(tmp_path, Model("pytorch", Path(), load=nn.ReLU))
