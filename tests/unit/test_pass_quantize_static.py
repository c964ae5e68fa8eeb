"""quantize_static on small ONNX models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest

from model_build.errors import UserError
from model_build.passes import quantize_static
from model_build.passes.base import Context, InstructionSet, Model

TOKENS = np.random.default_rng(3).integers(0, 300, (8, 9))
SHAPES = {"linear.onnx": (64,), "conv.onnx": (1, 8, 8)}


def quantize(source: Path, output: Path, vnni: bool = True, seen: list[int] | None = None, **options: Any) -> Path:
    def calibration() -> Iterator[dict[str, Any]]:
        random = np.random.default_rng(3)
        for size in (8, 8, 3):  # the last batch of a data set is often smaller
            if seen is not None:
                seen.append(size)
            if source.name == "embedding.onnx":
                yield {"x": TOKENS[:size]}
            else:
                yield {"x": random.normal(size=(size, *SHAPES[source.name])).astype(np.float32)}

    output.mkdir(exist_ok=True)
    context = Context(
        output=output,
        example=dict,
        input_axes={},
        output_names=("logits",),
        calibration=calibration,
        instruction_set=InstructionSet("some", vnni=vnni),
    )
    config = quantize_static.Config(**options)
    return quantize_static.run(Model("onnx", source.parent, source.name), config, context).path


@pytest.fixture
def convolution(tmp_path: Path) -> Path:
    return onnx_models.write_convolution(tmp_path / "conv.onnx")


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_weights_and_activations_become_8_bits_and_the_outputs_stay_close(
    convolution: Path, tmp_path: Path, method: str
) -> None:
    import onnx

    made = quantize(convolution, tmp_path / "out", method=method, reduce_range=True)
    operators = {node.op_type for node in onnx.load(made).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    # On the calibration data itself, whose range is known; entropy clips outliers on purpose.
    x = np.random.default_rng(3).normal(size=(8, 1, 8, 8)).astype(np.float32)
    wanted = onnx_models.run(convolution, x)
    assert np.abs(onnx_models.run(made, x) - wanted).max() < (0.2 if method == "entropy" else 0.05) * wanted.max()


@pytest.mark.parametrize(("vnni", "largest"), [(True, 127), (False, 64)])
def test_weights_have_7_bits_where_the_cpu_would_saturate(
    convolution: Path, tmp_path: Path, vnni: bool, largest: int
) -> None:
    made = quantize(convolution, tmp_path / "out", vnni=vnni)
    assert max(int(np.abs(array.astype(int)).max()) for array in onnx_models.weights_of_8_bits(made)) == largest


def test_only_as_many_samples_as_asked_for_are_looked_at(convolution: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    few = quantize(convolution, tmp_path / "few", seen=seen, samples=8).read_bytes()
    assert seen == [8]
    assert quantize(convolution, tmp_path / "all").read_bytes() != few


def test_quantizing_twice_gives_the_same_bytes_without_a_path_in_them(convolution: Path, tmp_path: Path) -> None:
    first = quantize(convolution, tmp_path / "one").read_bytes()
    assert quantize(convolution, tmp_path / "two").read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_linear_layers_alone_can_be_quantized(convolution: Path, tmp_path: Path) -> None:
    linear = onnx_models.write_linear(tmp_path / "linear.onnx")
    made = quantize(linear, tmp_path / "out", ops=("linear",))
    assert len(onnx_models.weights_of_8_bits(made)) >= 2
    with pytest.raises(UserError, match="no layers of the kinds linear: nothing was quantized"):
        quantize(convolution, tmp_path / "none", ops=("linear",))


def test_embeddings_are_quantized_where_they_are_named(tmp_path: Path) -> None:
    source = onnx_models.write_embedding(tmp_path / "embedding.onnx")
    made = quantize(source, tmp_path / "out", ops=("linear", "embedding"))
    assert made.stat().st_size < 0.4 * source.stat().st_size
    wanted = onnx_models.run(source, TOKENS)
    assert np.abs(onnx_models.run(made, TOKENS) - wanted).max() < 0.05 * np.abs(wanted).max()
    alone = quantize(source, tmp_path / "alone", ops=("embedding",))
    assert alone.stat().st_size < 0.4 * source.stat().st_size
    assert quantize(source, tmp_path / "linear", ops=("linear",)).stat().st_size > 0.9 * source.stat().st_size


def test_without_calibration_data_it_says_what_is_missing(convolution: Path, tmp_path: Path) -> None:
    context = Context(output=tmp_path, example=dict, input_axes={}, output_names=("logits",))
    with pytest.raises(UserError, match="needs calibration data"):
        quantize_static.run(Model("onnx", tmp_path, "conv.onnx"), quantize_static.Config(), context)
