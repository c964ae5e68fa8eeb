"""LiteRT models written by hand, without the converter, whose answers can be computed by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import serving_artifacts
from ai_edge_litert import schema_py_generated as schema

NUMBERS = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.INT32: np.int32,
}


class Graph:
    """One signature under construction; the file's buffers are shared by all of them."""

    def __init__(self, buffers: list[Any]) -> None:
        self.buffers = buffers
        self.tensors: list[Any] = []
        self.operators: list[Any] = []

    def tensor(self, name: str, shape: tuple[int, ...], kind: int = schema.TensorType.FLOAT32) -> int:
        return self._add(name, shape, kind, 0)

    def constant(self, name: str, values: np.ndarray) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.buffers.append(buffer)
        return self._add(name, values.shape, schema.TensorType.FLOAT32, len(self.buffers) - 1)

    def _add(self, name: str, shape: tuple[int, ...], kind: int, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def call(self, operator: str, inputs: list[int], outputs: list[int]) -> None:
        one = schema.OperatorT()
        one.opcodeIndex = OPERATORS.index(operator)
        one.inputs, one.outputs = inputs, outputs
        options = {"FULLY_CONNECTED": "FullyConnected", "MUL": "Mul", "CAST": "Cast"}[operator]
        one.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
        one.builtinOptions = getattr(schema, f"{options}OptionsT")()
        if operator == "CAST":
            one.builtinOptions.inDataType = schema.TensorType.INT32
            one.builtinOptions.outDataType = schema.TensorType.FLOAT32
        self.operators.append(one)


OPERATORS = ("FULLY_CONNECTED", "MUL", "CAST")


def write(
    path: Path, *signatures: tuple[Mapping[str, tuple[tuple[int, ...], int]], str, np.ndarray], named: bool = True
) -> Path:
    """A file with a signature for each (inputs, output, matrix): the product of all inputs, flattened, times the matrix
    of as many rows. Inputs are by name (shape, tensor type); whole numbers are cast to floats first."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    model.operatorCodes, model.subgraphs, model.signatureDefs = [], [], []
    for operator in OPERATORS:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, operator)
        code.version = 1
        model.operatorCodes.append(code)
    for number, (inputs, output, matrix) in enumerate(signatures):
        graph = Graph(model.buffers)
        given = {name: graph.tensor(name, shape, kind) for name, (shape, kind) in inputs.items()}
        floats = []
        for name, (shape, kind) in inputs.items():
            floats.append(given[name])
            if kind != schema.TensorType.FLOAT32:
                floats[-1] = graph.tensor(f"{name}_float", shape)
                graph.call("CAST", [given[name]], [floats[-1]])
        product = floats[0]
        for other in floats[1:]:
            product, before = graph.tensor(f"product_{other}", shape), product
            graph.call("MUL", [before, other], [product])
        result = graph.tensor(output, (1, matrix.shape[1]))
        weights = graph.constant("weights", np.ascontiguousarray(matrix.T, np.float32))
        graph.call("FULLY_CONNECTED", [product, weights, -1], [result])
        subgraph = schema.SubGraphT()
        subgraph.tensors, subgraph.operators = graph.tensors, graph.operators
        subgraph.inputs, subgraph.outputs = list(given.values()), [result]
        model.subgraphs.append(subgraph)
        if not named:
            continue
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = f"layout_{number}", number
        signature.inputs = [_named(name, index) for name, index in given.items()]
        signature.outputs = [_named(output, result)]
        model.signatureDefs.append(signature)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def _named(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def write_artifact(directory: Path) -> Path:
    """`serving_artifacts.write_artifact` of the task tensor, with its product as a LiteRT model."""
    serving_artifacts.write_artifact(directory, "tensor")
    (directory / "model.onnx").unlink()
    inputs = {"x": ((1, 3), schema.TensorType.FLOAT32)}
    model = write(directory / "model.tflite", (inputs, "output", serving_artifacts.MATRIX))
    values = json.loads((directory / "slipway.json").read_text())
    values |= {"model": model.name, "files": {model.name: hashlib.sha256(model.read_bytes()).hexdigest()}}
    (directory / "slipway.json").write_text(json.dumps(values))
    pins = "".join(f"{name}=={version(name)}\n" for name in ("ai-edge-litert", "numpy", "orjson"))
    (directory / "code/requirements.txt").write_text(pins)
    return directory
