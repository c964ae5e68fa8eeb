"""Stores weights as 16-bit floats: half the size at nearly the same numbers, without data.

Pays for size alone on most CPUs: ONNX Runtime computes in 32 bits there and turns the weights back while it loads the
model, so that time and memory stay what they were. For time, quantize. IEEE 754 binary16 has 11 significant bits; the
conversion of whole graphs is `onnxruntime.transformers.float16`. Inputs and outputs keep the types that serving feeds.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

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

LARGEST = 65504.0


class Config(PassConfig):
    activations: bool = Field(
        False,
        description="Computes in 16 bits too, operators that have no such form aside. Only for CPUs whose ONNX Runtime "
        "has the kernels (some Arm ones); on others casts around every operator make it slower than float.",
    )
    min_weights: int = Field(
        256,
        ge=1,
        description="Constants with fewer values stay as they are: a small epsilon would become zero. "
        "Of no effect with `activations`.",
    )


def run(model: Model, config: Config, context: Context) -> Model:
    import onnx

    proto = onnx.load(model.path)
    least = 1 if config.activations else config.min_weights
    large = [
        tensor for tensor in proto.graph.initializer if tensor.data_type == tensor.FLOAT and prod(tensor.dims) >= least
    ]
    if not large:
        raise UserError(
            f"float16: the model has no 32-bit constants of at least {least} values: nothing was converted",
            "leave the candidate out",
        )
    _check_range(large)
    if config.activations:
        proto = _whole_graph(proto)
    else:
        _store_in_half(proto, large)
    path = context.output / ENTRY
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return Model("onnx", context.output, ENTRY)


def _check_range(tensors: list[onnx.TensorProto]) -> None:
    import numpy as np
    from onnx import numpy_helper

    for tensor in tensors:
        finite = numpy_helper.to_array(tensor)
        largest = float(np.abs(finite[np.isfinite(finite)]).max(initial=0.0))
        if largest > LARGEST:
            raise UserError(
                f"float16: '{tensor.name}' has a value of {largest:g}, beyond what 16 bits hold ({LARGEST:g})",
                "leave the candidate out",
            )


def _store_in_half(proto: onnx.ModelProto, tensors: list[onnx.TensorProto]) -> None:
    """Each tensor in half its bits, and a cast before what uses it, which the runtime does once, on loading."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts: list[Any] = []
    outputs = {value.name for value in proto.graph.output}
    for tensor in tensors:
        if tensor.name in outputs:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], f"{name}_cast", to=TensorProto.FLOAT))
    names = {cast.output[0] for cast in casts}
    inputs = [value for value in proto.graph.input if value.name not in names]  # old files list weights there too
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _whole_graph(proto: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet():
        converted: onnx.ModelProto = convert_float_to_float16(proto, keep_io_types=True)
    return converted
