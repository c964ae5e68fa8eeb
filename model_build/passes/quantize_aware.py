"""Fine-tunes a model with its 8-bit rounding in the loop, so that quantizing it afterwards loses less.

Pays where quantize_static or quantize_dynamic alone miss the accuracy gate, mostly small convolutional networks and
7-bit weights. What it makes is a float model whose weights expect the rounding: name export_onnx and quantize_static
after it, with the same `ops` and `reduce_range`; its size and time are theirs. Jacob et al. 2018, "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference".
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from model_build import architecture, training
from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, RoundingConfig, TrainingConfig

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"pytorch"})
PRODUCES: Format = "pytorch"
NEEDS_CALIBRATION = False


class Config(TrainingConfig, RoundingConfig):
    epochs: int = Field(2, ge=0, le=1000, description="Times that training sees `data.training`; 0 trains nothing.")
    learning_rate: float = Field(
        1e-4, gt=0, le=1, description="Highest step size of AdamW; the weights are trained already, so a small one."
    )
    ops: tuple[Literal["linear", "conv"], ...] = Field(
        ("linear", "conv"), min_length=1, description="Kinds of layers that will be quantized."
    )
    activations: bool = Field(
        True, description="Rounds the layers' inputs too, as quantize_static will. False for weight-only passes."
    )


def run(model: Model, config: Config, context: Context) -> Model:
    assert model.load is not None  # noqa: S101  # what ACCEPTS means
    from model_build import fake_quantization

    module = model.load()
    layers = fake_quantization.layers(module, config.ops)
    if not layers:
        raise UserError(
            f"quantize_aware: the model has no layers of the kinds {', '.join(config.ops)}: nothing would be quantized",
            "name the kinds of layers that it has in ops, or leave the candidate out",
        )
    narrow = config.narrow(context.instruction_set)
    if config.epochs:
        with fake_quantization.rounding(layers, reduce_range=narrow, activations=config.activations):
            training.fit(module, training.task_loss(module, context), config, context)
    return architecture.write(module, architecture.read(model), context.output)
