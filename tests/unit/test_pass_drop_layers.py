"""drop_layers on a small encoder, and on one of Hugging Face's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import training_models as models
from pydantic import ValidationError
from torch import nn

from model_build import architecture
from model_build.errors import UserError
from model_build.passes import drop_layers
from model_build.passes.base import Model


def drop(output: Path, factory: Any = models.Encoder, groups: Any = models.TEXTS, **options: Any) -> Model:
    config = drop_layers.Config(**({"epochs": 0, "threads": 1} | options))
    return drop_layers.run(models.source(factory), config, models.context(output, groups, factory))


def kept(model: Model) -> list[int]:
    """Which of the source's layers are left, told by their weights."""
    before = models.made(models.Encoder).layers
    after = models.reopened(model, models.Encoder).layers
    return [
        index
        for layer in after
        for index, old in enumerate(before)
        if torch.equal(layer.linear1.weight, old.linear1.weight)
    ]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, [0, 1, 2]),
        ({"count": 2}, [0, 1]),
        ({"count": 1, "which": "bottom"}, [1, 2, 3]),
        ({"count": 2, "which": "alternate"}, [1, 3]),
        ({"count": 3, "which": "alternate"}, [1]),
        ({"drop": [0, -1]}, [1, 2]),
        ({"count": 0}, [0, 1, 2, 3]),
    ],
)
def test_the_layers_that_are_asked_for_are_gone(tmp_path: Path, options: dict[str, Any], left: list[int]) -> None:
    model = drop(tmp_path, **options)
    assert kept(model) == left
    assert models.answers(models.reopened(model, models.Encoder), models.TEXTS).shape == (20, models.CLASSES)


def test_with_no_layer_to_leave_out_the_answers_are_the_same(tmp_path: Path) -> None:
    made = models.reopened(drop(tmp_path, count=0), models.Encoder)
    assert (models.answers(made, models.TEXTS) == models.answers(models.made(models.Encoder), models.TEXTS)).all()


def test_fine_tuning_is_the_same_every_time_and_learns(tmp_path: Path) -> None:
    options: dict[str, Any] = {"count": 2, "epochs": 8, "learning_rate": 0.01, "batch_size": 8}
    model = drop(tmp_path / "one", **options)
    assert models.weights(drop(tmp_path / "two", **options)) == models.weights(model)
    assert models.accuracy(models.reopened(model, models.Encoder), models.TEXTS) > 0.8


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(vocab_size=50, num_labels=models.CLASSES, **sizes))  # type: ignore[no-any-return]


def test_a_model_of_hugging_face_loses_layers_and_counts_the_others(tmp_path: Path) -> None:
    made = models.reopened(drop(tmp_path, bert, count=3), bert)
    assert len(made.bert.encoder.layer) == 1
    assert made.config.num_hidden_layers == 1
    inputs = {name: torch.from_numpy(array) for name, array in models.TEXTS[0][0].items()}
    assert made(**inputs).logits.shape == (20, models.CLASSES)


def test_a_sequential_can_be_named_as_the_list(tmp_path: Path) -> None:
    model = drop(tmp_path, models.Residual, models.IMAGES, layers="block", drop=[1])
    assert len(models.reopened(model).block) == 1


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="layers has the layers 0 to 3, and no 4"):
        drop(tmp_path, drop=[4])
    with pytest.raises(UserError, match="no layer of layers would be left"):
        drop(tmp_path, count=4)
    with pytest.raises(UserError, match="layers has 4 layers, and count is 5"):
        drop(tmp_path, count=5)
    with pytest.raises(UserError, match="Encoder has no list of layers 'head'; its lists: layers"):
        drop(tmp_path, layers="head", count=1)
    with pytest.raises(UserError, match="Residual has no list of layers"):
        drop(tmp_path, models.Residual, models.IMAGES, count=1)


def test_either_a_count_or_numbers_are_given() -> None:
    with pytest.raises(ValidationError, match="give either count or drop"):
        drop_layers.Config(count=1, drop=(0,))


def test_dropped_layers_then_dropped_again_are_replayed_in_order(tmp_path: Path) -> None:
    once = drop(tmp_path / "one", drop=[0])
    again = architecture.reopened(once, lambda: models.made(models.Encoder), tmp_path)
    config = drop_layers.Config(drop=(0,), epochs=0)
    twice = drop_layers.run(again, config, models.context(tmp_path / "two", models.TEXTS, models.Encoder))
    assert kept(twice) == [2, 3]
