"""Exports a PyTorch model to ONNX, with every varying axis dynamic.

Every candidate of a PyTorch model needs it, unless convert_litert takes its place. It pays by itself: ONNX Runtime
spends less time between operators than PyTorch does, most of all with one sample at a time. The numbers stay the same,
which is checked on samples: a larger difference than `tolerance` fails the build.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pydantic import Field

from model_build.calling import parameter_names, select_outputs
from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, PassConfig
from model_build.quiet import quiet

if TYPE_CHECKING:
    import onnx
    import torch

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"pytorch"})
PRODUCES: Format = "onnx"
NEEDS_CALIBRATION = False
ENTRY = "model.onnx"


class Config(PassConfig):
    opset: int = Field(18, ge=13, le=23, description="Version of the ONNX operator set that the graph uses.")
    tolerance: float = Field(
        1e-3,
        gt=0,
        le=0.1,
        description="How far an output may be from the PyTorch model's, as a share of that output's largest value. "
        "More fails the build.",
    )


def run(model: Model, config: Config, context: Context) -> Model:
    import torch

    assert model.load is not None  # noqa: S101  # what ACCEPTS means
    module = model.load().eval()
    if getattr(module, "generates", False):
        from model_build import seq2seq_export

        return seq2seq_export.run(module, ENTRY, config, context)  # type: ignore[arg-type]
    batch = context.example()
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
        if isinstance(module, torch.jit.ScriptModule):
            proto = _export_script(module, tensors, config, context)
        else:
            wrapped = _with_plain_outputs(module, tensors, context.output_names)
            proto = _export(wrapped, tensors, config, context)
    _tidy(proto, tuple(batch), context)
    path = context.output / ENTRY
    path.write_bytes(proto.SerializeToString(deterministic=True))
    compare(module, path.read_bytes(), tensors, config, context)
    return Model("onnx", context.output, ENTRY)


def exported(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], config: Config, context: Context
) -> onnx.ModelProto:
    """A module of several outputs as a graph with the context's names. Raises UserError."""
    proto = _export(module, tensors, config, context)
    _tidy(proto, tuple(tensors), context)
    return proto


def _with_plain_outputs(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], names: tuple[str, ...]
) -> torch.nn.Module:
    """The module itself where it returns one tensor, else one that returns the named outputs as a tuple."""
    import torch

    if len(names) == 1 and isinstance(_call(module, tensors), torch.Tensor):
        return module

    class Selected(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, **inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return select_outputs(self.module(**inputs), names)

    selected = Selected()
    selected.forward.__func__.__signature__ = _signature(module)  # type: ignore[attr-defined]
    return selected.eval()


def _signature(module: torch.nn.Module) -> Any:
    import inspect

    own = inspect.signature(module.forward)
    return own.replace(
        parameters=[inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *own.parameters.values()]
    )


def _call(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Any:
    parameters = parameter_names(module, tensors)
    try:
        return module(**{parameter: tensors[name] for name, parameter in parameters.items()})
    except Exception as error:  # the project's forward may raise anything
        shapes = ", ".join(f"{name} {tensor.dtype} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UserError(
            f"export_onnx: {type(module).__name__}.forward failed on {shapes}: {type(error).__name__}: {reason}",
            "let forward take any batch of what the spec's preprocessing gives",
        ) from error


def _export(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], config: Config, context: Context
) -> onnx.ModelProto:
    import torch

    parameters = parameter_names(module, tensors)
    dynamic = {
        parameter: dict.fromkeys(context.input_axes.get(name, {}), torch.export.Dim.DYNAMIC)
        for name, parameter in parameters.items()
    }
    try:
        with quiet():
            program = torch.onnx.export(
                module,
                kwargs={parameter: tensors[name] for name, parameter in parameters.items()},
                dynamic_shapes=dynamic,
                opset_version=config.opset,
                dynamo=True,
                verbose=False,
            )
    except UserError:
        raise
    except Exception as error:  # whatever the exporter meets in the user's code
        axes = ", ".join(sorted({axis for axes in context.input_axes.values() for axis in axes.values()}))
        raise UserError(
            f"export_onnx: {type(module).__name__} cannot be exported: {_cause(error)}",
            f"make forward free of data-dependent control flow, and independent of the lengths of: {axes}",
        ) from error
    assert program is not None  # noqa: S101  # only without dynamo
    proto: onnx.ModelProto = program.model_proto
    return proto


def _export_script(
    module: torch.jit.ScriptModule, tensors: Mapping[str, torch.Tensor], config: Config, context: Context
) -> onnx.ModelProto:
    """By PyTorch's older exporter, the only one that takes TorchScript: it keeps the script's loops and branches."""
    import onnx
    import torch

    parameters = parameter_names(module, tensors)
    made = select_outputs(_call(module, tensors), context.output_names)
    stream = BytesIO()
    try:
        with quiet():
            torch.onnx.export(
                module,
                tuple(tensors[name] for name in parameters),
                stream,  # type: ignore[arg-type]  # the older exporter takes a stream
                input_names=list(parameters),
                output_names=list(context.output_names[: len(made)]),
                dynamic_axes={name: dict(context.input_axes.get(name, {})) for name in parameters},
                opset_version=config.opset,
                dynamo=False,
            )
    except Exception as error:  # whatever the exporter meets in the script
        raise UserError(
            f"export_onnx: the TorchScript {module.original_name} cannot be exported: {_cause(error)}",
            "export it to ONNX where its Python code is, and name that file under source.onnx.path",
        ) from error
    proto: onnx.ModelProto = onnx.load_model_from_string(stream.getvalue())
    del proto.graph.output[len(context.output_names) :]
    return proto


def _cause(error: BaseException) -> str:
    """The first line of what an error was raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()


def _tidy(proto: onnx.ModelProto, inputs: tuple[str, ...], context: Context) -> None:
    """Gives inputs, outputs and axes their names, and drops what differs from one checkout to the next.

    The exporter writes stack traces, with the paths of the files, into every node.
    """
    for message in _messages(proto):
        for field in ("doc_string", "metadata_props"):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
    own = [value.name for value in proto.graph.input]
    renamed = dict(zip(own, _in_order(own, inputs), strict=True))
    renamed |= {value.name: name for value, name in zip(proto.graph.output, context.output_names, strict=True)}
    _rename_values(proto.graph, renamed)
    _rename_axes(proto.graph, context.input_axes)


def _in_order(own: list[str], inputs: tuple[str, ...]) -> list[str]:
    """The task's names in the order of the graph's inputs: the same set, or the same order."""
    return own if set(own) == set(inputs) else list(inputs)


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all messages within it, weights aside."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or field.name in ("initializer", "metadata_props"):
            continue
        for item in value if field.is_repeated else (value,):
            yield from _messages(item)
    yield from getattr(message, "initializer", ())


def _rename_values(graph: Any, renamed: Mapping[str, str]) -> None:
    """Renames values everywhere; an internal value that already has one of the new names makes room.

    ONNX Runtime refuses a graph in which two values share a name.
    """
    new = set(renamed.values())

    def name_of(old: str) -> str:
        if old in renamed:
            return renamed[old]
        while old in new:
            old += "_inner"
        return old

    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = name_of(value.name)
    for node in graph.node:
        node.input[:] = [name_of(name) for name in node.input]
        node.output[:] = [name_of(name) for name in node.output]
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _rename_values(subgraph, renamed)


def _rename_axes(graph: Any, input_axes: Mapping[str, Mapping[int, str]]) -> None:
    symbols: dict[str, str] = {}
    for value in graph.input:
        for axis, name in input_axes.get(value.name, {}).items():
            dimension = value.type.tensor_type.shape.dim[axis]
            if dimension.dim_param:
                symbols.setdefault(dimension.dim_param, name)
    if not symbols:
        return
    pattern = re.compile("|".join(rf"\b{re.escape(symbol)}\b" for symbol in sorted(symbols)))
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = pattern.sub(lambda match: symbols[match.group()], dimension.dim_param)


def compare(
    module: torch.nn.Module, proto: bytes, tensors: Mapping[str, torch.Tensor], config: Config, context: Context
) -> None:
    """Runs both on the example batch and on its first sample alone, so that a batch axis frozen by tracing shows."""
    import numpy as np
    import onnxruntime as ort
    import torch

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no exception base of its own
        reason = str(error).splitlines()[0]
        raise UserError(f"export_onnx: ONNX Runtime refuses the exported {type(module).__name__}: {reason}") from error
    for size in (len(next(iter(tensors.values()))), 1):
        part = {name: tensor[:size] for name, tensor in tensors.items()}
        with torch.inference_mode():
            wanted = [value.numpy(force=True) for value in select_outputs(_call(module, part), context.output_names)]
        try:
            got = session.run(list(context.output_names), {name: value.numpy() for name, value in part.items()})
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"export_onnx: the exported {type(module).__name__} fails on a batch of {size}: {reason}"
            ) from error
        for name, expected, actual in zip(context.output_names, wanted, got, strict=True):
            scale = max(1e-6, float(np.abs(expected).max(initial=0.0)))
            close = expected.shape == actual.shape
            distance = np.abs(expected.astype(np.float64) - actual) if close else np.array([np.inf])
            error_share = float(distance.max(initial=0.0)) / scale
            if not error_share <= config.tolerance:  # NaN is a miss too
                raise UserError(
                    f"export_onnx: output '{name}' of the exported {type(module).__name__} is off by "
                    f"{error_share:.2g} of its largest value on a batch of {size}; tolerated are {config.tolerance:g}",
                    "make forward deterministic in eval mode, or raise export_onnx's tolerance",
                )
