"""What `slipway init` writes: a commented spec, and an example that trains in seconds or a copy of your ONNX file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from model_build.errors import UserError
from model_build.manifest import Name

if TYPE_CHECKING:
    from collections.abc import Iterable

TASKS = {
    "tensor": "arrays in, arrays out",
    "image-classification": "pictures",
    "text-classification": "texts",
    "audio-classification": "sounds",
}
"""Task → what its requests hold."""

FOLDER = "models"
_DTYPES = {1: "float32", 11: "float64", 7: "int64", 6: "int32", 2: "uint8", 9: "bool"}
"""ONNX's numbers of element types (onnx.TensorProto.DataType) → the spec's names."""


def example(root: Path, name: str, task: str) -> list[Path]:
    """Writes the spec and the example of a task; gives the spec's file and the example's folder. Raises UserError."""
    spec, folder = _places(root, name)
    _refuse_existing([spec, folder])
    package = folder.relative_to(root).parts
    with as_file(files("slipway.templates") / task.partition("-")[0]) as template:
        shutil.copytree(template, folder, ignore=shutil.ignore_patterns("spec.yaml", "__pycache__"))
        text = Template((template / "spec.yaml").read_text(encoding="utf-8"))
    filled = text.substitute(name=name, package=".".join(package), folder="/".join(package))
    _write(spec, filled)
    return [spec, folder]


def train(root: Path, name: str) -> None:
    """Runs an example's training. Raises UserError with what it said."""
    package = ".".join((FOLDER, name.replace("-", "_")))
    done = subprocess.run(
        [sys.executable, "-m", f"{package}.train"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise UserError(f"training the example failed: {last}", f"see it whole: python -m {package}.train")


def onnx(root: Path, name: str, model: Path) -> list[Path]:
    """Writes the spec of an ONNX file, which is copied into the project unless it lies there; gives both files.

    Raises UserError.
    """
    spec, folder = _places(root, name)
    inputs, outputs = _interface(model)
    inside = model.resolve().is_relative_to(root.resolve())
    _refuse_existing([spec] if inside else [spec, folder])
    path = model.resolve().relative_to(root.resolve()) if inside else folder.relative_to(root) / "model.onnx"
    if not inside:
        folder.mkdir(parents=True)
        shutil.copyfile(model, root / path)
    _write(spec, _onnx_spec(name, path.as_posix(), inputs, outputs))
    return [spec, root / path]


def _places(root: Path, name: str) -> tuple[Path, Path]:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise UserError(
            f"'{name}' is no name of a model",
            "take up to 40 lower-case letters, digits and hyphens, a letter first: my-model",
        ) from None
    return root / "specs" / f"{name}.yaml", root / FOLDER / name.replace("-", "_")


def _refuse_existing(paths: Iterable[Path]) -> None:
    there = next((path for path in paths if path.exists()), None)
    if there:
        raise UserError(f"{there} exists, and nothing is overwritten", "take another name, or move it away")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _interface(model: Path) -> tuple[dict[str, tuple[str, list[int]]], list[str]]:
    """Inputs (name → dtype and shape without the batch, -1 for any length) and outputs of an ONNX file."""
    import onnx as library

    try:
        graph = library.load(os.fspath(model), load_external_data=False).graph
    except Exception as error:  # protobuf's DecodeError, whose module has no types; OSError
        raise UserError(
            f"{model}: is no ONNX model that can be read ({error})", "give the file that --onnx names"
        ) from None
    weights = {tensor.name for tensor in graph.initializer}
    inputs: dict[str, tuple[str, list[int]]] = {}
    for value in graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        dtype = _DTYPES.get(tensor.elem_type)
        shape: list[Any] = [axis.dim_value or -1 for axis in tensor.shape.dim]
        if dtype is None or not shape:
            raise UserError(
                f"{model}: input '{value.name}' is no array with a batch axis of {', '.join(_DTYPES.values())}",
                "export the model with such inputs, axis 0 the batch",
            )
        inputs[value.name] = dtype, shape[1:]
    if not inputs:
        raise UserError(f"{model}: the graph has no inputs", "export the model with its inputs")
    return inputs, [value.name for value in graph.output]


def _onnx_spec(name: str, path: str, inputs: dict[str, tuple[str, list[int]]], outputs: list[str]) -> str:
    import json

    lines = "\n".join(
        f"    {json.dumps(key)}: {{dtype: {dtype}, shape: {json.dumps(shape)}}}"
        for key, (dtype, shape) in inputs.items()
    )
    return f"""\
# yaml-language-server: $schema=spec.schema.json
#
# What each key means: docs/spec.md. Try it: slipway check {name} && slipway build {name}
name: {name}
task: tensor # arrays in, arrays out; classification tasks also decode text, images or sound

tensor: # read from the file
  inputs: # of one sample, without the batch; -1 is any length
{lines}
  outputs: {json.dumps(outputs)}

source:
  onnx: {{path: {json.dumps(path)}}}

# Without samples nothing is measured, so nothing that may cost accuracy is tried, and no gate can judge. A factory
# returns (samples, labels): see what `slipway init NAME --task tensor` writes.
# data:
#   evaluation: {{factory: "models.{name.replace("-", "_")}.data:evaluation"}}
# gates: # a candidate that misses one is never deployed
#   accuracy: {{max_drop: 0.01}}

optimize:
  candidates: # ways to try; the fastest (or smallest) that passes every gate is taken
    - [] # as it is
    - [optimize_graph]
  choose: fastest

deploy:
  instance: ml.c7i.large
  instances: {{min: 1, max: 2}}
  autoscaling: {{target: 600}} # invocations per minute and instance

environments: # what differs there
  local: {{deploy: {{instances: {{min: 1, max: 1}}}}}}
  prod: {{deploy: {{instances: {{min: 2, max: 4}}}}}} # two, so that one may fail
"""
