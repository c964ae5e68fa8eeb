"""float16 on small ONNX models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest
from onnx import numpy_helper

from model_build.errors import UserError
from model_build.passes import float16
from model_build.passes.base import Context, Model

X = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)


def convert(source: Path, output: Path, **options: Any) -> Path:
    output.mkdir(exist_ok=True)
    context = Context(output=output, example=dict, input_axes={}, output_names=("logits",))
    return float16.run(Model("onnx", source.parent, source.name), float16.Config(**options), context).path


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    return onnx_models.write_linear(tmp_path / "linear.onnx")


@pytest.mark.parametrize("activations", [False, True])
def test_the_weights_have_16_bits_and_inputs_and_outputs_keep_32(
    linear: Path, tmp_path: Path, activations: bool
) -> None:
    made = convert(linear, tmp_path / "out", activations=activations)
    graph = onnx.load(made).graph
    assert {tensor.data_type for tensor in graph.initializer} == {onnx.TensorProto.FLOAT16}
    assert [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)] == [onnx.TensorProto.FLOAT] * 2
    assert made.stat().st_size < 0.6 * linear.stat().st_size
    wanted = onnx_models.run(linear, X)
    assert np.abs(onnx_models.run(made, X) - wanted).max() < 0.002 * np.abs(wanted).max()


def test_constants_below_the_least_size_keep_their_32_bits(linear: Path, tmp_path: Path) -> None:
    graph = onnx.load(convert(linear, tmp_path / "out", min_weights=1000)).graph
    kept = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert kept == {"first_half": onnx.TensorProto.FLOAT16, "second": onnx.TensorProto.FLOAT}


def test_converting_twice_gives_the_same_bytes(linear: Path, tmp_path: Path) -> None:
    assert convert(linear, tmp_path / "one").read_bytes() == convert(linear, tmp_path / "two").read_bytes()


def test_a_model_that_is_converted_already_has_nothing_left_to_convert(linear: Path, tmp_path: Path) -> None:
    once = convert(linear, tmp_path / "once")
    with pytest.raises(UserError, match="no 32-bit constants of at least 256 values: nothing was converted"):
        convert(once, tmp_path / "twice")


def test_a_value_that_16_bits_cannot_hold_is_named(linear: Path, tmp_path: Path) -> None:
    proto = onnx.load(linear)
    array = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    array[0, 0] = 1e5
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "first"))
    onnx.save(proto, linear)
    with pytest.raises(UserError, match=r"'first' has a value of 100000, beyond what 16 bits hold \(65504\)"):
        convert(linear, tmp_path / "out")
