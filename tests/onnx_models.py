"""Small ONNX models made without PyTorch, for tests of what comes after exporting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def write_linear(path: Path, *, batch: str | int = "batch", seed: int = 0) -> Path:
    """`x` (batch, 64) → `logits` (batch, 8), two layers with a ReLU between."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)
    weights = {
        "first": random.normal(size=(64, 32)).astype(np.float32),
        "second": random.normal(size=(32, 8)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["hidden"], name="first_layer"),
        helper.make_node("Relu", ["hidden"], ["active"], name="relu"),
        helper.make_node("MatMul", ["active", "second"], ["logits"], name="second_layer"),
    ]
    return _save(path, nodes, weights, [batch, 64], [batch, 8], TensorProto, helper, numpy_helper)


def write_convolution(path: Path, seed: int = 0) -> Path:
    """`x` (batch, 1, 8, 8) → `logits` (batch, 4): convolution, ReLU, mean over the picture."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {"kernel": np.random.default_rng(seed).normal(size=(4, 1, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["map"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["map"], ["active"], name="relu"),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flatten"),
    ]
    return _save(path, nodes, weights, ["batch", 1, 8, 8], ["batch", 4], TensorProto, helper, numpy_helper)


def write_embedding(path: Path, rows: int = 300, width: int = 40, seed: int = 0) -> Path:
    """`x` int64 (batch, tokens) → `logits` (batch, 8): a table of embeddings, their mean, a Gemm with its bias."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)
    weights = {
        "table": random.normal(size=(rows, width)).astype(np.float32),
        "matrix": random.normal(size=(8, width)).astype(np.float32),
        "bias": random.normal(size=8).astype(np.float32),
        "tokens_axis": np.array([1]),
    }
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["embeddings"], name="lookup", axis=0),
        helper.make_node("ReduceMean", ["embeddings", "tokens_axis"], ["mean"], name="mean", keepdims=0),
        helper.make_node("Gemm", ["mean", "matrix", "bias"], ["logits"], name="head", transB=1),
    ]
    return _save(
        path, nodes, weights, ["batch", "tokens"], ["batch", 8], TensorProto, helper, numpy_helper, TensorProto.INT64
    )


def _save(
    path: Path,
    nodes: list[Any],
    weights: dict[str, Any],
    shape: list[str | int],
    made: list[str | int],
    tensor: Any,
    helper: Any,
    numpy_helper: Any,
    kind: int | None = None,
) -> Path:
    import onnx

    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind or tensor.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", tensor.FLOAT, made)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def run(path: Path, x: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"x": x})[0]


def weights_of_8_bits(path: Path) -> list[Any]:
    """The matrices and kernels of a model that are stored as int8."""
    import onnx
    from onnx import numpy_helper

    return [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(path).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    ]
