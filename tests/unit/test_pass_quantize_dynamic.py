"""quantize_dynamic on a small ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest

from model_build.errors import UserError
from model_build.passes import quantize_dynamic
from model_build.passes.base import Context, InstructionSet, Model


def quantize(source: Path, output: Path, vnni: bool = True, **options: Any) -> Path:
    output.mkdir(exist_ok=True)
    context = Context(
        output=output,
        example=dict,
        input_axes={},
        output_names=("logits",),
        instruction_set=InstructionSet("some", vnni=vnni),
    )
    config = quantize_dynamic.Config(**options)
    return quantize_dynamic.run(Model("onnx", source.parent, source.name), config, context).path


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    return onnx_models.write_linear(tmp_path / "linear.onnx")


def test_the_weights_become_8_bits_and_the_outputs_stay_close(linear: Path, tmp_path: Path) -> None:
    made = quantize(linear, tmp_path / "out", reduce_range=True)
    assert [array.shape for array in onnx_models.weights_of_8_bits(made)] == [(64, 32), (32, 8)]
    assert made.stat().st_size < 0.5 * linear.stat().st_size
    x = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)
    wanted = onnx_models.run(linear, x)
    assert np.abs(onnx_models.run(made, x) - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("vnni", "option", "largest"), [(True, None, 127), (False, None, 64), (False, False, 127), (True, True, 64)]
)
def test_weights_have_7_bits_where_the_cpu_would_saturate_unless_the_spec_says_otherwise(
    linear: Path, tmp_path: Path, vnni: bool, option: bool | None, largest: int
) -> None:
    made = quantize(linear, tmp_path / "out", vnni=vnni, reduce_range=option)
    assert max(int(np.abs(array.astype(int)).max()) for array in onnx_models.weights_of_8_bits(made)) == largest


def test_quantizing_twice_gives_the_same_bytes(linear: Path, tmp_path: Path) -> None:
    assert quantize(linear, tmp_path / "one").read_bytes() == quantize(linear, tmp_path / "two").read_bytes()


def test_only_the_named_kinds_of_layers_are_quantized(tmp_path: Path) -> None:
    source = onnx_models.write_convolution(tmp_path / "conv.onnx")
    assert len(onnx_models.weights_of_8_bits(quantize(source, tmp_path / "conv", ops=("conv",)))) == 1
    with pytest.raises(UserError, match="no layers of the kinds linear: nothing was quantized"):
        quantize(source, tmp_path / "linear")


def test_embeddings_are_quantized_where_they_are_named(tmp_path: Path) -> None:
    source = onnx_models.write_embedding(tmp_path / "embedding.onnx")
    tokens = np.random.default_rng(1).integers(0, 300, (8, 9))
    made = quantize(source, tmp_path / "out", ops=("embedding",))
    assert made.stat().st_size < 0.4 * source.stat().st_size
    wanted = onnx_models.run(source, tokens)
    assert np.abs(onnx_models.run(made, tokens) - wanted).max() < 0.05 * np.abs(wanted).max()


def test_nothing_is_written_beside_the_source(linear: Path, tmp_path: Path) -> None:
    quantize(linear, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"linear.onnx", "out"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.onnx"]
