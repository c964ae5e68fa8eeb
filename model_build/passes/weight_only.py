"""Stores large weights as blocks of 8 or 4 bits; activations stay float, and no data is needed.

Pays for size: an embedding table is half or more of a small language model, and only the rows that a text names are
turned back, so 4 bits there cost no time. Linear layers gain time only where reading the weights is the bottleneck, as
with single tokens of large models; elsewhere quantize_dynamic is faster. ONNX Runtime's MatMulNBits and
GatherBlockQuantized, round to nearest in blocks (Dettmers and Zettlemoyer 2023, "The case for 4-bit precision").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, PassConfig
from model_build.quiet import quiet

if TYPE_CHECKING:
    import onnx

    from model_build.passes.base import Array

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"onnx"})
PRODUCES: Format = "onnx"
NEEDS_CALIBRATION = False
ENTRY = "model.onnx"

DOMAIN = "com.microsoft"


class Config(PassConfig):
    ops: tuple[Literal["linear", "embedding"], ...] = Field(
        ("embedding",), min_length=1, description="Kinds of layers whose weights are stored in fewer bits."
    )
    bits: Literal[4, 8] = Field(4, description="Of each weight.")
    block_size: Literal[16, 32, 64, 128, 256] = Field(
        32, description="Weights that share a scale: fewer are more exact, and larger by 4.5 bytes a block."
    )
    accuracy_level: Literal[1, 4] = Field(
        4,
        description="How `linear` multiplies: 4 rounds activations to 8 bits on the way, which is fastest; 1 keeps "
        "them float, which is often slower than the float model.",
    )
    min_weights: int = Field(4096, ge=1, description="Layers with fewer weights stay as they are.")


def run(model: Model, config: Config, context: Context) -> Model:
    import onnx

    proto = onnx.load(model.path)
    quantized = 0
    if "embedding" in config.ops:
        quantized += _quantize_embeddings(proto, config)
    if "linear" in config.ops:
        quantized += _quantize_linears(proto, config)
    if not quantized:
        raise UserError(
            f"weight_only: the model has no layers of the kinds {', '.join(config.ops)} with at least "
            f"{config.min_weights} weights: nothing was quantized",
            "name the kinds of layers that it has in ops, or leave the candidate out",
        )
    _tidy(proto)
    path = context.output / ENTRY
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return Model("onnx", context.output, ENTRY)


def _quantize_embeddings(proto: onnx.ModelProto, config: Config) -> int:
    """Turns lookups in constant float tables (rows, columns) into GatherBlockQuantized; returns how many."""
    from onnx import helper, numpy_helper

    tables = _weights(proto, config)
    stored: dict[str, list[str]] = {}
    count = 0
    for node in proto.graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" and not node.domain else None
        if table is None or next((one.i for one in node.attribute if one.name == "axis"), 0) != 0:
            continue
        name = node.input[0]
        if name not in stored:
            parts = quantize_rows(numpy_helper.to_array(table), config.bits, config.block_size)
            stored[name] = [f"{name}_{part}" for part in ("quantized", "scales", "zero_points")]
            proto.graph.initializer.extend(
                numpy_helper.from_array(array, new) for new, array in zip(stored[name], parts, strict=True)
            )
        quantized, scales, zero_points = stored[name]
        node.CopyFrom(
            helper.make_node(
                "GatherBlockQuantized",
                [quantized, node.input[1], scales, zero_points],
                node.output,
                node.name,
                domain=DOMAIN,
                gather_axis=0,
                quantize_axis=1,
                block_size=config.block_size,
                bits=config.bits,
            )
        )
        count += 1
    return count


def quantize_rows(table: Array, bits: int, block_size: int) -> tuple[Array, Array, Array]:
    """A float table (rows, columns) as packed uint8, scales float (rows, blocks), and packed zero points uint8.

    Two values of 4 bits share a byte, the first in its lower half; a row that ends inside a byte or block is padded.
    """
    import numpy as np

    rows, columns = table.shape
    blocks = -(-columns // block_size)
    padded = np.pad(table, ((0, 0), (0, blocks * block_size - columns))).reshape(rows, blocks, block_size)
    low = np.minimum(padded.min(axis=2), 0)
    high = np.maximum(padded.max(axis=2), 0)
    largest = 2**bits - 1
    scales = ((high - low) / largest).astype(table.dtype)
    divisors = np.where(scales == 0, 1, scales)
    zero_points = np.rint(-low / divisors).clip(0, largest)
    values = (np.rint(padded / divisors[..., None]) + zero_points[..., None]).clip(0, largest)
    flat = values.reshape(rows, -1)[:, :columns].astype(np.uint8)
    return _packed(flat, bits), scales, _packed(zero_points.astype(np.uint8), bits)


def _packed(values: Array, bits: int) -> Array:
    import numpy as np

    if bits == 8:
        return values
    even = np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
    packed: Array = even[:, ::2] | (even[:, 1::2] << 4)
    return packed


def _quantize_linears(proto: onnx.ModelProto, config: Config) -> int:
    """Turns products with large constant matrices into MatMulNBits, in place; returns how many."""
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    weights = _weights(proto, config)
    _spell_out(proto, weights)
    weights = _weights(proto, config)
    wanted = [node for node in proto.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    for number, node in enumerate(wanted):
        node.name = node.name or f"linear_{number}"
    if not wanted:
        return 0
    names = {node.name for node in wanted}
    with quiet():
        quantizer = MatMulNBitsQuantizer(
            proto,
            nodes_to_exclude=[node.name for node in proto.graph.node if node.name not in names],
            algo_config=DefaultWeightOnlyQuantConfig(
                block_size=config.block_size,
                accuracy_level=config.accuracy_level,
                quant_format=QuantFormat.QOperator,
                op_types_to_quantize=("MatMul",),
                bits=config.bits,
            ),
        )
        quantizer.process()
    result: onnx.ModelProto = quantizer.model.model
    if result is not proto:
        proto.CopyFrom(result)
    return len(wanted)


def _spell_out(proto: onnx.ModelProto, weights: dict[str, onnx.TensorProto]) -> None:
    """Writes a Gemm with a large constant matrix as MatMul and Add, which the quantizer knows."""
    import numpy as np
    from onnx import helper, numpy_helper

    nodes: list[Any] = []
    for node in proto.graph.node:
        given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        plain = given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0 and not given.get("transA", 0)
        if node.op_type != "Gemm" or node.domain or not plain or node.input[1] not in weights:
            nodes.append(node)
            continue
        weight = node.input[1]
        if given.get("transB", 0):
            turned = f"{weight}_transposed"
            array = np.ascontiguousarray(numpy_helper.to_array(weights[weight]).T)
            if all(tensor.name != turned for tensor in proto.graph.initializer):
                proto.graph.initializer.append(numpy_helper.from_array(array, turned))
            weight = turned
        biased = len(node.input) > 2 and node.input[2]
        product = f"{node.output[0]}_product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], weight], [product], node.name))
        if biased:
            nodes.append(helper.make_node("Add", [product, node.input[2]], node.output, f"{node.name}_bias"))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _weights(proto: onnx.ModelProto, config: Config) -> dict[str, onnx.TensorProto]:
    """The large constant matrices of floats, by name."""
    return {
        tensor.name: tensor
        for tensor in proto.graph.initializer
        if tensor.data_type == tensor.FLOAT
        and len(tensor.dims) == 2
        and tensor.dims[0] * tensor.dims[1] >= config.min_weights
    }


def _tidy(proto: onnx.ModelProto) -> None:
    """Drops constants that nothing uses any more, and what layers that share a weight have stored twice."""
    from onnx import helper

    used = {name for node in proto.graph.node for name in node.input} | {one.name for one in proto.graph.output}
    kept: dict[str, Any] = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.name in used}
    tensors = list(kept.values())
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(tensors)
    if all(one.domain != DOMAIN for one in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
