"""A pass from ONNX to ONNX on a model of several graphs: on one after the other, each with an example of its own.

Apart from the workshop, which knows steps and nodes: here is what such graphs are fed.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.passes.base import Context, Model, Pass, PassConfig

if TYPE_CHECKING:
    from model_build.passes.base import Batch

PAST = 3
"""Tokens that the decoder has seen, in the example that it is fed."""
PASSES = ("export_onnx", "optimize_graph", "quantize_dynamic", "float16", "weight_only")
"""Those that can be had of such models: the others look at data or make another format, of one graph."""


def run(the_pass: Pass, name: str, model: Model, config: PassConfig, context: Context) -> Model:
    """The model with every graph rewritten. Raises UserError for a pass that cannot do that."""
    if name not in PASSES:
        raise UserError(
            f"{name} takes models of one graph, and this one is made of {', '.join((model.entry, *model.parts))}",
            f"take {', '.join(PASSES[1:])}",
        )
    for entry in (model.entry, *model.parts):
        scratch = context.output / f"{entry}.made"
        scratch.mkdir()
        inputs, outputs = _interface(model.directory / entry)
        one = replace(
            context,
            output=scratch,
            example=lambda inputs=inputs: _example(model, inputs, context),  # type: ignore[misc]
            input_axes={name: {} for name in inputs},
            output_names=outputs,
        )
        try:
            made = the_pass.run(Model("onnx", model.directory, entry), config, one)
        except UserError as error:
            raise UserError(f"{entry}: {error.message}", error.next_step) from error
        made.path.replace(context.output / entry)
        shutil.rmtree(scratch)
    return Model("onnx", context.output, model.entry, parts=model.parts)


def _interface(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The inputs of a graph with their shapes, and the names of its outputs."""
    import onnx

    graph = onnx.load(path).graph
    stored = {tensor.name for tensor in graph.initializer}  # old files list weights among the inputs
    shapes = {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in graph.input
        if value.name not in stored
    }
    return shapes, tuple(value.name for value in graph.output)


def _example(model: Model, inputs: dict[str, Any], context: Context) -> Batch:
    """What a graph is fed: the task's example, what the encoder makes of it, and a past of random keys and values."""
    import numpy as np
    import onnxruntime

    from serving.generation import PAST as PAST_START
    from serving.generation import TOKEN

    feeds = dict(context.example())
    rows = len(next(iter(feeds.values())))
    if TOKEN in inputs:
        for part in model.parts:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            session = onnxruntime.InferenceSession(model.directory / part, options, providers=["CPUExecutionProvider"])
            names = [one.name for one in session.get_outputs()]
            feeds |= zip(names, session.run(names, context.example()), strict=True)
        random = np.random.default_rng(context.seed)
        feeds[TOKEN] = np.ones((rows, 1), np.int64)
        for name, shape in inputs.items():
            if name.startswith(PAST_START):
                feeds[name] = random.normal(size=(rows, shape[1], PAST, shape[3])).astype(np.float32)
    return {name: feeds[name] for name in inputs}
