"""weight_only on small ONNX models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest

from model_build.errors import UserError
from model_build.passes import weight_only
from model_build.passes.base import Context, Model

TOKENS = np.random.default_rng(1).integers(0, 300, (16, 9))


def quantize(source: Path, output: Path, **options: Any) -> Path:
    output.mkdir(exist_ok=True)
    context = Context(output=output, example=dict, input_axes={}, output_names=("logits",))
    config = weight_only.Config(**{"min_weights": 64} | options)
    return weight_only.run(Model("onnx", source.parent, source.name), config, context).path


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    return onnx_models.write_embedding(tmp_path / "embedding.onnx")


# Blocks of 16 do not divide the table's 40 columns: the last of each row is padded.
@pytest.mark.parametrize(("bits", "block", "share"), [(8, 16, 0.01), (8, 32, 0.01), (4, 16, 0.12), (4, 32, 0.15)])
def test_a_table_is_stored_in_blocks_and_the_outputs_stay_close(
    embedding: Path, tmp_path: Path, bits: int, block: int, share: float
) -> None:
    made = quantize(embedding, tmp_path / "out", bits=bits, block_size=block)
    assert operators(made) == {"GatherBlockQuantized": 1, "ReduceMean": 1, "Gemm": 1}
    assert made.stat().st_size < (0.6 if bits == 8 else 0.4) * embedding.stat().st_size
    wanted = onnx_models.run(embedding, TOKENS)
    assert np.abs(onnx_models.run(made, TOKENS) - wanted).max() < share * np.abs(wanted).max()


@pytest.mark.parametrize("bits", [4, 8])
def test_every_value_of_a_row_is_as_near_as_its_blocks_grid_allows(bits: int) -> None:
    table = np.random.default_rng(2).normal(size=(7, 33)).astype(np.float32)
    table[3] = 0  # a row without a range
    quantized, scales, zero_points = weight_only.quantize_rows(table, bits, 16)
    rows = unpacked(quantized, bits, 33)
    blocks = np.arange(33) // 16
    back = (rows - unpacked(zero_points, bits, 3)[:, blocks]) * scales[:, blocks]
    # Half a step, and half a step more at the ends, where the zero point is rounded too.
    assert (np.abs(back - table) <= scales[:, blocks] + 1e-6).all()
    assert (back[3] == 0).all()


def unpacked(values: Any, bits: int, columns: int) -> Any:
    if bits == 8:
        return values.astype(int)
    return np.stack([values & 15, values >> 4], axis=2).reshape(len(values), -1)[:, :columns].astype(int)


@pytest.mark.parametrize(("bits", "level", "share"), [(8, 1, 0.01), (8, 4, 0.03), (4, 1, 0.15), (4, 4, 0.15)])
def test_linear_layers_of_both_kinds_are_stored_in_blocks(tmp_path: Path, bits: int, level: int, share: float) -> None:
    linear = onnx_models.write_linear(tmp_path / "linear.onnx")
    made = quantize(linear, tmp_path / "out", ops=("linear",), bits=bits, accuracy_level=level)
    assert operators(made) == {"MatMulNBits": 2, "Relu": 1}
    x = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)
    wanted = onnx_models.run(linear, x)
    assert np.abs(onnx_models.run(made, x) - wanted).max() < share * np.abs(wanted).max()


def test_a_gemm_is_a_linear_layer_too_and_keeps_its_bias(embedding: Path, tmp_path: Path) -> None:
    made = quantize(embedding, tmp_path / "out", ops=("linear",), bits=8)
    assert operators(made) == {"Gather": 1, "ReduceMean": 1, "MatMulNBits": 1, "Add": 1}
    wanted = onnx_models.run(embedding, TOKENS)
    assert np.abs(onnx_models.run(made, TOKENS) - wanted).max() < 0.03 * np.abs(wanted).max()


def test_both_kinds_can_be_named_and_small_layers_stay_float(embedding: Path, tmp_path: Path) -> None:
    both = quantize(embedding, tmp_path / "both", ops=("linear", "embedding"))
    assert operators(both) == {"GatherBlockQuantized": 1, "ReduceMean": 1, "MatMulNBits": 1, "Add": 1}
    large = quantize(embedding, tmp_path / "large", ops=("linear", "embedding"), min_weights=1000)
    assert operators(large) == {"GatherBlockQuantized": 1, "ReduceMean": 1, "Gemm": 1}


def test_the_float_weights_are_gone(embedding: Path, tmp_path: Path) -> None:
    made = onnx.load(quantize(embedding, tmp_path / "out", ops=("linear", "embedding")))
    floats = [tensor for tensor in made.graph.initializer if tensor.data_type == tensor.FLOAT and len(tensor.dims) > 1]
    assert {tensor.name for tensor in floats} == {"table_scales", "matrix_transposed_scales"}


def test_quantizing_twice_gives_the_same_bytes(embedding: Path, tmp_path: Path) -> None:
    first = quantize(embedding, tmp_path / "one", ops=("linear", "embedding"))
    assert first.read_bytes() == quantize(embedding, tmp_path / "two", ops=("linear", "embedding")).read_bytes()


def test_a_model_without_such_layers_is_refused(tmp_path: Path) -> None:
    convolution = onnx_models.write_convolution(tmp_path / "conv.onnx")
    with pytest.raises(UserError, match="no layers of the kinds embedding with at least 64 weights"):
        quantize(convolution, tmp_path / "out")
