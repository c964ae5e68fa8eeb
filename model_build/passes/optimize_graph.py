"""Folds constants and fuses what an exporter spread over many operators: attention, GELU, batch normalisation.

Pays for transformers, and most before quantization, since what is left beside the matrix products then weighs more;
a plain convolutional network has little to fuse. The fusions are those of `onnxscript.rewriter.ort_fusions` and ONNX
Runtime's basic level; nothing depends on the machine (the runtime's own layouts, NCHWc for one, are never stored).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field

from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, PassConfig
from model_build.quiet import quiet

if TYPE_CHECKING:
    import onnx
    import onnx_ir

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"onnx"})
PRODUCES: Format = "onnx"
NEEDS_CALIBRATION = False
ENTRY = "model.onnx"

ATTENTION = ("com.microsoft", "MultiHeadAttention")


class Config(PassConfig):
    attention: bool = Field(
        True, description="One operator for scaled dot-product attention, with its heads and its mask."
    )
    gelu: bool = Field(True, description="One operator for a GELU that is written with the error function.")
    split_layer_norm: bool = Field(
        True,
        description="Keeps ONNX Runtime from fusing a layer normalisation with the addition before it: on CPUs its "
        "fused kernel (SkipLayerNormalization) takes several times as long as the two.",
    )
    tolerance: float = Field(
        1e-3,
        gt=0,
        le=0.1,
        description="How far an output may be from the model's before, as a share of that output's largest value. "
        "More fails the build.",
    )


def run(model: Model, config: Config, context: Context) -> Model:
    import onnx

    source = onnx.load(model.path)
    path = context.output / ENTRY
    for attention in (True, False) if config.attention else (False,):
        with quiet():
            proto = _optimized(source, config, attention)
        path.write_bytes(proto.SerializeToString(deterministic=True))
        if not attention or (_operators(proto)[ATTENTION] and _runs(path, context)):
            break
    before, after = _operators(source).total(), _operators(proto).total()
    if after >= before and not _operators(proto)["", "Sum"] > _operators(source)["", "Sum"]:
        context.progress("optimize_graph: found nothing to fold or to fuse")
        path.write_bytes(source.SerializeToString(deterministic=True))
        return Model("onnx", context.output, ENTRY)
    context.progress(f"optimize_graph: {before} operators became {after}")
    _compare(model.path, path, config, context)
    return Model("onnx", context.output, ENTRY)


def _optimized(source: onnx.ModelProto, config: Config, attention: bool) -> onnx.ModelProto:
    proto = _without_what_is_unused(_basic_level(_fused(source, config, attention)))
    if config.split_layer_norm:
        _split_layer_norm(proto)
    return proto


def _operators(proto: onnx.ModelProto) -> Counter[tuple[str, str]]:
    return Counter((node.domain, node.op_type) for node in proto.graph.node)


def _fused(source: onnx.ModelProto, config: Config, attention: bool) -> onnx.ModelProto:
    """The graph after the fusions of transformers, which ONNX Runtime's own do not find in what PyTorch exports."""
    import onnx_ir
    from onnx_ir.passes.common import CommonSubexpressionEliminationPass, ShapeInferencePass
    from onnxscript.optimizer import optimize
    from onnxscript.rewriter.ort_fusions import shape_optimization
    from onnxscript.rewriter.ort_fusions.erfgelu import fuse_erfgelu

    graph = onnx_ir.from_proto(source)
    ShapeInferencePass()(graph)
    optimize(graph)
    if attention:
        # Brings the shapes into the form that the fusion looks for; without the fusion its result may not run.
        shape_optimization.rules.apply_to_model(graph)
        optimize(graph)
    if config.gelu:
        fuse_erfgelu(graph)
    CommonSubexpressionEliminationPass()(graph)
    if attention:
        _fuse_attention(graph)
    optimize(graph)
    fused: onnx.ModelProto = onnx_ir.to_proto(graph)
    return fused


def _fuse_attention(graph: onnx_ir.Model) -> None:
    """To MultiHeadAttention, which leaves the three projections beside it, so that they can be quantized.

    The next fusion in the library's own list, to Attention with one matrix for all three, takes the mask as an addend,
    and that operator has no 8-bit form.
    """
    from onnxscript.rewriter.ort_fusions.mha import fuse_mha1, fuse_mha2
    from onnxscript.rewriter.ort_fusions.mha_scale import fuse_mha_scale
    from onnxscript.rewriter.ort_fusions.sdpa import fuse_sdpa
    from onnxscript.rewriter.ort_fusions.sdpa_via_mha import replace_sdpa_by_mha

    fuse_sdpa(graph, apply_shape_inference=True)
    for fuse in (fuse_mha1, fuse_mha2, fuse_mha_scale, replace_sdpa_by_mha):
        fuse(graph)


def _basic_level(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph after ONNX Runtime's basic level, the highest whose result runs on every CPU alike."""
    import onnx
    import onnxruntime as ort

    with TemporaryDirectory(prefix="slipway-") as scratch:
        path = Path(scratch) / "basic.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


def _without_what_is_unused(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without the operator sets that ONNX Runtime names and no operator uses, and without notes of the tools."""
    used = {domain for domain, _ in _operators(proto)} | {node.domain for one in proto.functions for node in one.node}
    sets = [one for one in proto.opset_import if one.domain in used | {""}]
    del proto.opset_import[:]
    proto.opset_import.extend(sets)
    for message in (proto, proto.graph, *proto.graph.node):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
    return proto


def _split_layer_norm(proto: onnx.ModelProto) -> None:
    """Writes the addition before a layer normalisation as `Sum`, which adds the same and matches no fusion."""
    makers = {output: node for node in proto.graph.node for output in node.output}
    for node in proto.graph.node:
        if node.op_type == "LayerNormalization" and (maker := makers.get(node.input[0])) and maker.op_type == "Add":
            maker.op_type = "Sum"


def _runs(path: Path, context: Context) -> bool:
    try:
        _outputs(path, list(context.output_names), context.example())
    except Exception as error:  # onnxruntime has no exception base of its own
        context.progress(f"optimize_graph: attention stays as it is ({str(error).splitlines()[0]:.120})")
        return False
    return True


def _compare(before: Path, after: Path, config: Config, context: Context) -> None:
    """Runs both on the example batch. A fusion takes what looks like a pattern for one; this tells whether it was."""
    import numpy as np

    batch = context.example()
    names = list(context.output_names)
    wanted, got = (_outputs(path, names, batch) for path in (before, after))
    for name, expected, actual in zip(names, wanted, got, strict=True):
        scale = max(1e-6, float(np.abs(expected).max(initial=0.0)))
        share = float(np.abs(expected - actual).max(initial=0.0)) / scale
        if not share <= config.tolerance:  # NaN is a miss too
            raise UserError(
                f"optimize_graph: output '{name}' is off by {share:.2g} of its largest value; "
                f"tolerated are {config.tolerance:g}",
                "turn attention or gelu off, or raise optimize_graph's tolerance",
            )


def _outputs(path: Path, names: list[str], batch: Any) -> list[Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    outputs: list[Any] = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(names, batch)
    return outputs
