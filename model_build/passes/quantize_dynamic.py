"""Stores weights as 8-bit integers and quantizes activations as they come; needs no data.

Pays for linear layers, so for transformers: a quarter of their size, and less time, most where the CPU adds 8-bit
products at once (VNNI). With `embedding` among `ops` the table of a large vocabulary shrinks too. Convolutions are
better off with quantize_static. The graph is rewritten by ONNX Runtime's own quantizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, QuantizationConfig
from model_build.quiet import quiet

if TYPE_CHECKING:
    import onnx

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"onnx"})
PRODUCES: Format = "onnx"
NEEDS_CALIBRATION = False
ENTRY = "model.onnx"

OPERATORS = {"linear": ("MatMul", "Gemm"), "conv": ("Conv",), "embedding": ("Gather",)}


class Config(QuantizationConfig):
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
    path = context.output / ENTRY
    with quiet():
        quantize_dynamic(
            proto,
            path,
            op_types_to_quantize=[operator for kind in config.ops for operator in OPERATORS[kind]],
            per_channel=config.per_channel,
            reduce_range=config.narrow(context.instruction_set),
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
