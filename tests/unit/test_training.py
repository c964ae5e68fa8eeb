"""The training that passes share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_models as models

from model_build import training
from model_build.errors import UserError
from model_build.passes.base import Context, TrainingConfig

QUICK = TrainingConfig(epochs=3, batch_size=16, learning_rate=0.01, threads=1)


def trained(
    context: Context, config: TrainingConfig = QUICK, factory: Any = models.Residual
) -> dict[str, torch.Tensor]:
    module = models.made(factory)
    training.fit(module, training.task_loss(module, context), config, context)
    assert not module.training
    return module.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_training_twice_gives_the_same_weights_whatever_the_random_state_was(tmp_path: Path) -> None:
    context = models.context(tmp_path)
    first = trained(context)
    torch.manual_seed(12345)
    state = torch.get_rng_state()
    assert same(first, trained(context))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not same(first, trained(context, QUICK.model_copy(update={"seed": 1})))


def test_what_is_learnt_is_right(tmp_path: Path) -> None:
    module = models.made()
    context = models.context(tmp_path)
    before = models.accuracy(module)
    config = QUICK.model_copy(update={"epochs": 10})
    training.fit(module, training.task_loss(module, context), config, context)
    assert models.accuracy(module) > max(0.9, before + 0.2)


def test_no_epochs_train_nothing_and_need_no_data(tmp_path: Path) -> None:
    context = replace(models.context(tmp_path), training=None)
    config = QUICK.model_copy(update={"epochs": 0})
    assert same(models.made().state_dict(), trained(context, config))
    with pytest.raises(UserError, match="training needs data"):
        trained(context)


@pytest.mark.parametrize("epochs", [1, 2])
def test_after_a_kill_training_goes_on_from_the_last_epoch_and_ends_with_the_same_weights(
    tmp_path: Path, epochs: int
) -> None:
    whole = trained(models.context(tmp_path))
    context = models.context(tmp_path, work=tmp_path / "work")
    with pytest.raises(models.Killed):
        trained(replace(context, progress=models.killed_after(epochs)))
    said: list[str] = []
    assert same(whole, trained(replace(context, progress=said.append)))
    assert said[0] == f"going on after epoch {epochs}/3"
    assert [line.split()[1] for line in said[1:]] == [f"{epoch}/3" for epoch in range(epochs + 1, 4)]


def test_an_epoch_that_was_not_finished_is_not_taken_for_one(tmp_path: Path) -> None:
    whole = trained(models.context(tmp_path))
    context = models.context(tmp_path, work=tmp_path / "work")
    with pytest.raises(models.Killed):
        trained(replace(context, progress=models.killed_after(2)))
    left = tmp_path / "work" / "tmp-1-abc"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert same(whole, trained(context))
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["epoch-0003"]


def test_texts_of_several_lengths_are_padded_where_a_mask_says_so(tmp_path: Path) -> None:
    samples = training.Samples(models.context(tmp_path, models.TEXTS))
    assert len(samples) == 38
    ((inputs, labels),) = samples.take([0, 20, 37])
    assert {name: tuple(tensor.shape) for name, tensor in inputs.items()} == dict.fromkeys(inputs, (3, 9))
    assert inputs["attention_mask"].sum(1).tolist() == [5, 3, 9]
    assert labels.tolist() == [group[1][0] for group in models.TEXTS]


def test_samples_of_several_shapes_without_a_mask_are_batches_of_their_own(tmp_path: Path) -> None:
    groups = tuple(({"x": np.zeros((2, length), np.float32)}, np.array([0, 1])) for length in (3, 4))
    parts = list(training.Samples(models.context(tmp_path, groups)).take([0, 3, 1]))
    assert [(tuple(inputs["x"].shape), labels.tolist()) for inputs, labels in parts] == [
        ((2, 3), [0, 1]),
        ((1, 4), [1]),
    ]


def test_progress_tells_epoch_loss_and_time(tmp_path: Path) -> None:
    said: list[str] = []
    trained(models.context(tmp_path, progress=said.append))
    assert len(said) == 3
    assert said[0].startswith("epoch 1/3  loss ") and said[0].endswith(" s")


def test_a_loss_that_is_no_number_ends_training(tmp_path: Path) -> None:
    module = models.made()
    context = models.context(tmp_path)
    with pytest.raises(UserError, match="diverged in epoch 1"):
        training.fit(module, lambda _, __: module.stem[0].weight.sum() * float("nan"), QUICK, context)


def test_outputs_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    context = models.context(tmp_path)
    with pytest.raises(UserError, match=r"outputs of the shape \(batch, classes\); Conv2d returns"):
        trained(context, factory=lambda: torch.nn.Conv2d(1, 2, 3))


def test_the_step_size_rises_then_falls_to_nothing() -> None:
    rates = [training.schedule(step / 100) for step in range(101)]
    assert max(rates) == rates[10] == 1
    assert 0 < rates[0] < rates[5] < 1 and rates[100] < 1e-9
    assert rates[10:] == sorted(rates[10:], reverse=True)
