"""Converts a PyTorch model to LiteRT, formerly TensorFlow Lite: one file that phones and boards run too.

By `litert-torch`, which is an optional extra (`make litert`). Its files have fixed shapes, so the model is laid out for
one sample; `serving.litert` runs batches sample by sample and pads texts. Models of convolutions gain by its kernels on
CPUs; a text pays for the tokens that it is padded to. Several layouts (`lengths`) share the weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from model_build.calling import parameter_names, select_outputs
from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, PassConfig
from model_build.quiet import quiet

if TYPE_CHECKING:
    import torch

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"pytorch"})
PRODUCES: Format = "litert"
NEEDS_CALIBRATION = False
LIBRARIES = ("ai-edge-litert", "ai-edge-quantizer", "litert-converter", "litert-torch")
ENTRY = "model.tflite"

RECIPES = {"dynamic": "dynamic_wi8_afp32", "weight_only": "weight_only_wi8_afp32"}
"""`quantize` → the recipe of `ai-edge-quantizer`."""


class Config(PassConfig):
    quantize: Literal["none", "dynamic", "weight_only"] = Field(
        "none",
        description="`dynamic` stores weights in 8 bits, a scale for each channel, and rounds activations while it "
        "runs; `weight_only` turns the weights back to floats, which saves the download alone. Neither needs data.",
    )
    lengths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="Of texts: further lengths in tokens, below `text.max_length`, that the model is laid out for. A "
        "text is padded to the next one.",
    )
    tolerance: float = Field(
        1e-3,
        gt=0,
        le=0.1,
        description="How far an output may be from the PyTorch model's, as a share of that output's largest value, "
        "before it is quantized. More fails the build.",
    )


def run(model: Model, config: Config, context: Context) -> Model:
    if find_spec("litert_torch") is None:
        raise UserError(
            "convert_litert needs LiteRT's converter, an optional extra that is not installed",
            "run: make litert (0.7 GB), or leave the candidate out",
        )
    import torch

    assert model.load is not None  # noqa: S101  # what ACCEPTS means
    module = model.load().eval()
    if isinstance(module, torch.jit.ScriptModule):
        raise UserError(
            f"convert_litert cannot convert TorchScript, and {module.original_name} is that",
            "give the model as a factory and weights, under source.pytorch",
        )
    sample = {name: torch.from_numpy(array[:1]) for name, array in context.example().items()}
    layouts = {length: _laid_out(sample, length, context) for length in _lengths(config, context)}
    content = _convert(module, layouts, context.output_names)
    path = context.output / ENTRY
    path.write_bytes(content)
    shorter = 0
    for length in layouts:
        if length is None:
            _compare(module, path, sample, config, context)
        else:  # padded, but not so short that the layout before takes it
            count = max(shorter + 1, length * 3 // 4)
            repeated = {name: tensor.repeat(1, -(-count // tensor.shape[1])) for name, tensor in sample.items()}
            _compare(module, path, {name: tensor[:, :count] for name, tensor in repeated.items()}, config, context)
            shorter = length
    if config.quantize != "none":
        path.write_bytes(_quantized(content, RECIPES[config.quantize]))
    return Model("litert", context.output, ENTRY)


def _lengths(config: Config, context: Context) -> list[int | None]:
    """The lengths that the model is laid out for; None alone where its shapes are fixed. Raises UserError."""
    text = context.serving.text if context.serving else None
    if text:
        if too_long := [length for length in config.lengths if length >= text.max_length]:
            raise UserError(
                f"convert_litert: lengths has {too_long[0]}, and texts are cut at {text.max_length} tokens anyway",
                "give lengths below text.max_length, which is always one of them",
            )
        return [*sorted(set(config.lengths)), text.max_length]
    if config.lengths:
        raise UserError("convert_litert: lengths are of texts, and this task has none", "leave lengths out")
    free = sorted(name for name, axes in context.input_axes.items() if set(axes) - {0})
    if free:
        raise UserError(
            f"convert_litert: LiteRT's shapes are fixed, and {', '.join(free)} may have any length",
            "give the lengths in place of -1 under tensor.inputs, or export_onnx instead",
        )
    return [None]


def _laid_out(sample: Mapping[str, torch.Tensor], length: int | None, context: Context) -> dict[str, torch.Tensor]:
    """The sample with every free axis cut or padded to a length."""
    from torch.nn.functional import pad

    if length is None:
        return dict(sample)
    return {name: pad(tensor[:, :length], (0, max(0, length - tensor.shape[1]))) for name, tensor in sample.items()}


def _convert(
    module: torch.nn.Module, layouts: Mapping[int | None, Mapping[str, torch.Tensor]], names: tuple[str, ...]
) -> bytes:
    """A flatbuffer with one signature for each layout, of the task's names. Raises UserError."""
    # What the converter's C++ says of itself; it reads these when it is loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with quiet():
        import litert_torch

    named = _named(module, next(iter(layouts.values())), names)
    try:
        with quiet():
            converter = litert_torch.Converter()
            for length, inputs in layouts.items():
                key = f"length_{length}" if length else "serving_default"
                converter.signature(key, named, sample_kwargs=dict(inputs))
            content: bytes = converter.convert().model_content()
    except UserError:
        raise
    except Exception as error:  # whatever the converter meets in the user's code
        raise UserError(
            f"convert_litert: {type(module).__name__} cannot be converted: {_cause(error)}",
            "make forward free of data-dependent control flow, or leave the candidate out",
        ) from error
    return content


def _named(module: torch.nn.Module, inputs: Iterable[str], names: tuple[str, ...]) -> torch.nn.Module:
    """The module with the task's names for its inputs and outputs, which the converter takes over."""
    import torch

    parameters = parameter_names(module, inputs)

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, **given: torch.Tensor) -> dict[str, torch.Tensor]:
            result = self.module(**{parameters[name]: tensor for name, tensor in given.items()})
            return dict(zip(names, select_outputs(result, names), strict=True))

    return Named().eval()


def _cause(error: BaseException) -> str:
    """The first line of what an error was raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()[:500]


def _compare(
    module: torch.nn.Module, path: Path, sample: Mapping[str, torch.Tensor], config: Config, context: Context
) -> None:
    """Runs both on a sample, LiteRT as it is served: a model that does not heed its mask differs by the padding."""
    import numpy as np
    import torch

    from serving.litert import Session

    parameters = parameter_names(module, sample)
    with torch.inference_mode():
        result = module(**{parameter: sample[name] for name, parameter in parameters.items()})
        wanted = [value.numpy(force=True) for value in select_outputs(result, context.output_names)]
    got = Session(path, 1).run(context.output_names, {name: tensor.numpy() for name, tensor in sample.items()})
    for name, expected, actual in zip(context.output_names, wanted, got, strict=True):
        scale = max(1e-6, float(np.abs(expected).max(initial=0.0)))
        close = expected.shape == actual.shape
        distance = np.abs(expected.astype(np.float64) - actual) if close else np.array([np.inf])
        share = float(distance.max(initial=0.0)) / scale
        if not share <= config.tolerance:  # NaN is a miss too
            shapes = ", ".join(f"{one} {tuple(tensor.shape)}" for one, tensor in sample.items())
            raise UserError(
                f"convert_litert: output '{name}' of the converted {type(module).__name__} is off by {share:.2g} of "
                f"its largest value on {shapes}; tolerated are {config.tolerance:g}",
                "let forward heed attention_mask, and be deterministic in eval mode; or raise the tolerance",
            )


def _quantized(content: bytes, recipe: str) -> bytes:
    with quiet():
        from ai_edge_quantizer import quantizer
        from ai_edge_quantizer import recipe as recipes

        quantize = quantizer.Quantizer(bytearray(content))
        quantize.load_quantization_recipe(getattr(recipes, recipe)())
        result: Any = quantize.quantize().quantized_model
    return bytes(result)
