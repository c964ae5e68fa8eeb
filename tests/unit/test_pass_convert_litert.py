"""convert_litert without its converter: what it refuses, and in which words. tests/contract/test_litert.py converts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import litert_models
import numpy as np
import pytest
import torch
from ai_edge_litert.schema_py_generated import TensorType
from torch import nn

from model_build import explain
from model_build.errors import UserError
from model_build.passes import convert_litert
from model_build.passes.base import Context, Model
from serving.config import ServingConfig


class Sums(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(dim=1, keepdim=True)


def context(output: Path, **changes: Any) -> Context:
    values: dict[str, Any] = {"example": lambda: {"x": np.ones((2, 3), np.float32)}, "input_axes": {"x": {0: "batch"}}}
    return Context(**({"output": output, "output_names": ("output",)} | values | changes))


def text(output: Path, max_length: int = 32) -> Context:
    section = {"tokenizer": "tokenizer.json", "max_length": max_length}
    config = ServingConfig.from_dict({"name": "t", "task": "text-classification", "text": section}, output)
    names = ("input_ids", "attention_mask")
    return context(
        output,
        example=lambda: {name: np.ones((2, 5), np.int64) for name in names},
        input_axes={name: {0: "batch", 1: "sequence"} for name in names},
        serving=config,
    )


def convert(context: Context, module: nn.Module | None = None, **options: Any) -> None:
    module = module or Sums()
    convert_litert.run(Model("pytorch", context.output, load=lambda: module), convert_litert.Config(**options), context)


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were installed."""
    monkeypatch.setattr(convert_litert, "find_spec", lambda name: object())


def test_a_missing_converter_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert_litert, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="optional extra that is not installed") as caught:
        convert(context(tmp_path))
    assert "make litert" in caught.value.next_step
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("converter")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot convert TorchScript, and Sums is that"):
        convert(context(tmp_path), torch.jit.script(Sums()))


@pytest.mark.usefixtures("converter")
def test_an_axis_of_any_length_is_refused_with_its_input(tmp_path: Path) -> None:
    free = context(tmp_path, input_axes={"x": {0: "batch", 1: "x_1"}, "y": {0: "batch"}})
    with pytest.raises(UserError, match="shapes are fixed, and x may have any length"):
        convert(free)


@pytest.mark.usefixtures("converter")
@pytest.mark.parametrize("length", [32, 33])
def test_a_length_that_texts_are_cut_to_anyway_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(UserError, match=f"lengths has {length}, and texts are cut at 32 tokens anyway"):
        convert(text(tmp_path), lengths=(8, length))


@pytest.mark.usefixtures("converter")
def test_lengths_belong_to_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lengths are of texts, and this task has none"):
        convert(context(tmp_path), lengths=(8,))


def test_a_text_is_laid_out_for_each_length_and_the_longest(tmp_path: Path) -> None:
    made = text(tmp_path)
    assert convert_litert._lengths(convert_litert.Config(lengths=(16, 8, 16)), made) == [8, 16, 32]
    sample = {name: torch.from_numpy(array[:1]) for name, array in made.example().items()}
    for length, ones in ((3, 3), (8, 5)):
        for tensor in convert_litert._laid_out(sample, length, made).values():
            assert tensor.tolist() == [[1] * ones + [0] * (length - ones)]


@pytest.mark.parametrize("options", [{"quantize": "int4"}, {"lengths": [0]}, {"tolerance": 0}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        explain.validate(convert_litert.Config, options)


def test_a_file_that_answers_otherwise_than_the_model_fails_by_how_much(tmp_path: Path) -> None:
    inputs = {"x": ((1, 3), TensorType.FLOAT32)}
    right, wrong = (np.full((3, 1), value, np.float32) for value in (1, 1.01))
    sample = {"x": torch.ones((1, 3))}
    config = convert_litert.Config()
    same = litert_models.write(tmp_path / "same.tflite", (inputs, "output", right))
    convert_litert._compare(Sums(), same, sample, config, context(tmp_path))
    other = litert_models.write(tmp_path / "other.tflite", (inputs, "output", wrong))
    with pytest.raises(UserError, match=r"'output' of the converted Sums is off by 0\.01 .*tolerated are 0\.001"):
        convert_litert._compare(Sums(), other, sample, config, context(tmp_path))
    convert_litert._compare(Sums(), other, sample, convert_litert.Config(tolerance=0.02), context(tmp_path))
