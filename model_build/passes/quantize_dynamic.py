"""Stores weights as 8-bit integers and quantizes activations as they come; needs no data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, PassConfig
from model_build.quiet import quiet

if TYPE_CHECKING:
    import onnx

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"onnx"})
PRODUCES: Format = "onnx"
NEEDS_CALIBRATION = False
ENTRY = "model.onnx"

OPERATORS = {"linear": ("MatMul", "Gemm"), "conv": ("Conv",), "embedding": ("Gather",)}


class Config(PassConfig):
    per_channel: bool = Field(
        True, description="One scale for each output channel of a weight, in place of one for all."
    )
    reduce_range: bool | None = Field(
        None,
        description="7-bit weights, which CPUs without VNNI need to keep accuracy: 8-bit products saturate there. "
        "Left out: true unless this machine, which measures, and every `deploy.instance` of the spec have VNNI.",
    )
    ops: tuple[Literal["linear", "conv", "embedding"], ...] = Field(
        ("linear",),
        min_length=1,
        description="Kinds of layers to quantize. Dynamic `conv` is often slower than float "
        "(microsoft/onnxruntime#12854).",
    )


def run(model: Model, config: Config, context: Context) -> Model:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    proto = onnx.load(model.path)
    before = _weights_of_8_bits(proto)
    reduce_range = not context.instruction_set.vnni if config.reduce_range is None else config.reduce_range
    path = context.output / ENTRY
    with quiet():
        quantize_dynamic(
            proto,
            path,
            op_types_to_quantize=[operator for kind in config.ops for operator in OPERATORS[kind]],
            per_channel=config.per_channel,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
        )
    quantized = onnx.load(path)
    if _weights_of_8_bits(quantized) <= before:
        raise UserError(
            f"quantize_dynamic: the model has no layers of the kinds {', '.join(config.ops)}: nothing was quantized",
            "name the kinds of layers that it has in ops, or leave the candidate out",
        )
    path.write_bytes(quantized.SerializeToString(deterministic=True))
    return Model("onnx", context.output, ENTRY)


def _weights_of_8_bits(proto: onnx.ModelProto) -> int:
    """How many matrices and kernels are stored in 8 bits. Those of embeddings are unsigned."""
    return sum(
        tensor.data_type in (tensor.INT8, tensor.UINT8) and len(tensor.dims) > 1 for tensor in proto.graph.initializer
    )
