"""Stores weights as 8-bit integers and fixes the activations' ranges from calibration data.

Pays for convolutional networks, whose activations then stay in 8 bits from layer to layer, where quantize_dynamic would
turn them to and fro. The calibration samples must look like what the endpoint will see. A model that loses too much
accuracy may keep it with another `method` or `per_channel`, or by quantize_aware before the export.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, QuantizationConfig
from model_build.quiet import quiet

if TYPE_CHECKING:
    from model_build.passes.base import Batch

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"onnx"})
PRODUCES: Format = "onnx"
NEEDS_CALIBRATION = True
ENTRY = "model.onnx"

# Between convolutions, operators that only move or clip values stay in 8 bits, else each would cost two conversions.
OPERATORS = {
    "linear": ("MatMul", "Gemm"),
    "conv": (
        *("Conv", "ConvTranspose", "Relu", "Clip", "Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool"),
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
    ),
    "embedding": ("Gather",),
}


class Config(QuantizationConfig):
    ops: tuple[Literal["linear", "conv", "embedding"], ...] = Field(
        ("linear", "conv"), min_length=1, description="Kinds of layers to quantize."
    )
    samples: int = Field(200, ge=1, le=100_000, description="Calibration samples to look at, from the first.")
    method: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax", description="How an activation's range is found."
    )


def run(model: Model, config: Config, context: Context) -> Model:
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if context.calibration is None:
        raise UserError("quantize_static needs calibration data", "give data.calibration in the spec")
    operators = [operator for kind in config.ops for operator in OPERATORS[kind]]
    stored = {tensor.name for tensor in onnx.load(model.path).graph.initializer}
    path = context.output / ENTRY
    onnxruntime.set_default_logger_severity(3)  # its tools open sessions that would warn on the terminal
    with quiet(), TemporaryDirectory(prefix="slipway-") as scratch:
        prepared = _prepare(model.path, Path(scratch), context)
        ranges = _ranges(prepared, Path(scratch), operators, config, _first(context.calibration(), config.samples))
        quantize_static(
            onnx.load(prepared),
            path,
            calibration_cache_path=ranges,
            calibrate_method=_method(config),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators,
            per_channel=config.per_channel,
            reduce_range=config.narrow(context.instruction_set),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Products of two activations, as in attention, stay in float: they are no layers, and lose most.
            extra_options={"MatMulConstBOnly": True},
        )
    quantized = onnx.load(path)
    if not any(
        tensor.data_type in (tensor.INT8, tensor.UINT8) and len(tensor.dims) > 1
        for tensor in quantized.graph.initializer
        if tensor.name not in stored
    ):
        raise UserError(
            f"quantize_static: the model has no layers of the kinds {', '.join(config.ops)}: nothing was quantized",
            "name the kinds of layers that it has in ops, or leave the candidate out",
        )
    path.write_bytes(quantized.SerializeToString(deterministic=True))
    return Model("onnx", context.output, ENTRY)


def _method(config: Config) -> Any:
    from onnxruntime.quantization import CalibrationMethod

    return {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }[config.method]


def _ranges(prepared: Path, scratch: Path, operators: list[str], config: Config, batches: Iterator[Batch]) -> Path:
    """Runs the float model on the batches; returns a file of the activations' ranges.

    Batch by batch, since ONNX Runtime's own loop keeps every activation of all batches in memory, and its histograms
    refuse batches of different shapes.
    """
    from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data

    calibrator = create_calibrator(
        prepared,
        operators,
        augmented_model_path=str(scratch / "augmented.onnx"),
        calibrate_method=_method(config),
        # Symmetric ranges would give half of the 8 bits of what follows a ReLU to values that never occur.
        extra_options={"symmetric": False},
    )
    for batch in batches:
        calibrator.collect_data(_Reader(batch))
    ranges = scratch / "ranges.json"
    save_tensors_data(calibrator.compute_data(), ranges)
    return ranges


def _first(batches: Iterator[Batch], samples: int) -> Iterator[Batch]:
    """Batches with `samples` samples in total, or all where there are fewer."""
    left = samples
    for batch in batches:
        count = len(next(iter(batch.values())))
        yield batch if count <= left else {name: array[:left] for name, array in batch.items()}
        left -= count
        if left <= 0:
            return


class _Reader:
    """ONNX Runtime's `CalibrationDataReader` of one batch; it knows the type by its method."""

    def __init__(self, batch: Batch) -> None:
        self.batch: Batch | None = batch

    def get_next(self) -> Batch | None:
        batch, self.batch = self.batch, None
        return batch


def _prepare(path: Path, scratch: Path, context: Context) -> Path:
    """The model after constant folding, folding of batch normalisation, and shape inference.

    Symbolic shape inference fails on some models of dynamic length (BERT's), and the runtime's optimizer can too; the
    quantizer works on less, so each is left out where it fails.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = scratch / "prepared.onnx"
    for skipped in ({}, {"skip_symbolic_shape": True}, {"skip_symbolic_shape": True, "skip_optimization": True}):
        try:
            quant_pre_process(path, prepared, **skipped)
        except Exception as error:  # whatever the tools raise: each step is an improvement, none a condition
            context.progress(f"quantize_static: prepared with less ({type(error).__name__}: {error!s:.120})")
        else:
            return prepared
    return path
