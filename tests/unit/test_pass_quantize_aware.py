"""quantize_aware on a small PyTorch model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_models
from torch import nn
from torch.nn.utils import parametrize

from model_build import fake_quantization, training
from model_build.errors import UserError
from model_build.passes import quantize_aware
from model_build.passes.base import InstructionSet, Model

OPTIONS = {"epochs": 3, "learning_rate": 3e-3, "batch_size": 16, "threads": 1}


def train(output: Path, *, vnni: bool = False, work: Path | None = None, **options: Any) -> Model:
    context = training_models.context(output, instruction_set=InstructionSet("some", vnni=vnni), work=work)
    return quantize_aware.run(training_models.source(), quantize_aware.Config(**OPTIONS | options), context)


def rounded(module: nn.Module, reduce_range: bool) -> nn.Module:
    """With its weights on the coarse grid for good."""
    for layer in fake_quantization.layers(module, ("linear", "conv")):
        with torch.no_grad():
            weight = layer.get_parameter("weight")
            weight.copy_(fake_quantization.RoundedWeight(reduce_range)(weight))
    return module


def test_training_with_the_rounding_changes_the_weights_and_leaves_a_plain_module(tmp_path: Path) -> None:
    made = train(tmp_path / "out")
    module = training_models.reopened(made)
    plain = training_models.made()
    assert module.state_dict().keys() == plain.state_dict().keys()
    assert not any(parametrize.is_parametrized(one) for one in module.modules())
    assert not any(isinstance(one, fake_quantization.RoundedInput) for one in made.load().modules())  # type: ignore[misc]
    moved = [not torch.equal(one, other) for one, other in zip(module.parameters(), plain.parameters(), strict=True)]
    assert all(moved)
    assert training_models.accuracy(rounded(module, True)) > training_models.accuracy(plain)


def test_weights_that_the_rounding_would_drop_learn_to_survive_it(tmp_path: Path) -> None:
    """A linear layer whose outlier makes the steps too coarse for the weights that decide the class."""

    def made() -> nn.Module:
        layer = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.cat([0.07 * torch.eye(3), 10 * torch.ones(3, 1)], 1))
        return layer.eval()

    labels = np.arange(48) % 3
    features = np.concatenate([1000 * np.eye(3)[labels], np.zeros((48, 1))], 1).astype(np.float32)
    groups = (({"input": features}, labels),)
    context = training_models.context(tmp_path, groups)
    config = quantize_aware.Config(epochs=5, batch_size=16, learning_rate=3e-3, weight_decay=0, threads=1)
    unaware = made()
    training.fit(unaware, training.task_loss(unaware, context), config, context)
    aware = quantize_aware.run(Model("pytorch", tmp_path, load=made), config, context).load
    assert aware is not None
    assert training_models.accuracy(made(), groups) == 1  # in floats nothing is wrong, nor anything to learn
    assert training_models.accuracy(rounded(unaware, True), groups) == pytest.approx(1 / 3)
    assert training_models.accuracy(rounded(aware(), True), groups) == 1


@pytest.mark.parametrize(("reduce_range", "steps"), [(True, 129), (False, 255)])
def test_weights_lie_on_the_grid_of_their_output(reduce_range: bool, steps: int) -> None:
    weight = torch.randn(3, 4000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0], [10.0], [0.1]])
    made = fake_quantization.RoundedWeight(reduce_range)(weight)
    assert [len(row.unique()) <= steps for row in made] == [True] * 3
    scales = weight.abs().amax(1, keepdim=True) / (steps // 2)
    assert ((made - weight).abs() <= 0.5001 * scales).all()


def test_inputs_follow_the_range_of_the_batches_and_keep_zero_exact() -> None:
    inputs = fake_quantization.RoundedInput().train()
    values = torch.linspace(1, 5, 101)
    made = inputs(values)
    assert float(inputs.high) == 5.0
    assert float((made - values).abs().max()) <= 0.5001 * 5 / 255
    assert float(inputs(torch.zeros(1))[0]) == 0.0
    inputs.eval()
    assert float(inputs(torch.tensor([100.0]))[0]) == pytest.approx(float(inputs.high))


def test_no_epochs_leave_the_weights_as_they_are_and_need_no_data(tmp_path: Path) -> None:
    module = training_models.reopened(train(tmp_path / "out", epochs=0))
    for one, other in zip(module.parameters(), training_models.made().parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_same_options_give_the_same_weights_and_the_target_decides_the_bits(tmp_path: Path) -> None:
    first = training_models.weights(train(tmp_path / "one"))
    assert training_models.weights(train(tmp_path / "two")) == first
    assert training_models.weights(train(tmp_path / "vnni", vnni=True)) != first
    assert training_models.weights(train(tmp_path / "said", vnni=True, reduce_range=True)) == first


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = training_models.weights(train(tmp_path / "whole"))
    work = tmp_path / "work"
    context = training_models.context(
        tmp_path / "killed",
        instruction_set=InstructionSet("some"),
        work=work,
        progress=training_models.killed_after(2),
    )
    with pytest.raises(training_models.Killed):
        quantize_aware.run(training_models.source(), quantize_aware.Config(**OPTIONS), context)
    assert list(work.glob("epoch-0002"))
    assert training_models.weights(train(tmp_path / "resumed", work=work)) == whole


def test_the_rounding_ends_even_where_training_fails(tmp_path: Path) -> None:
    module = training_models.made()
    layers = fake_quantization.layers(module, ("linear", "conv"))
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        fake_quantization.rounding(layers, reduce_range=True, activations=True),
    ):
        raise RuntimeError("on purpose")
    assert np.array_equal(training_models.answers(module), training_models.answers(training_models.made()))


def test_a_model_without_such_layers_is_refused(tmp_path: Path) -> None:
    model = Model("pytorch", tmp_path, load=lambda: nn.Sequential(nn.ReLU()))
    with pytest.raises(UserError, match="no layers of the kinds linear, conv"):
        quantize_aware.run(model, quantize_aware.Config(), training_models.context(tmp_path / "out"))


def test_without_training_data_it_says_what_is_missing(tmp_path: Path) -> None:
    context = training_models.context(tmp_path / "out", training=None)
    with pytest.raises(UserError, match="training needs data"):
        quantize_aware.run(training_models.source(), quantize_aware.Config(), context)
