"""The two models that servers are compared on: a small MLP over JSON numbers, and the shipped news topics."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np

from bench.servers.launch import Model, Unavailable

ROOT = Path(__file__).parents[1]
FEATURES, HIDDEN, CLASSES = 16, 64, 4
BODIES = 8
"""Different requests that are sent in turn, so that no answer can be remembered."""


def mlp(folder: Path) -> Model:
    """16 numbers → 64, ReLU → 4: microseconds of inference, so that all the rest is the server's."""
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(5)
    weights = {
        "first": random.normal(size=(FEATURES, HIDDEN)).astype(np.float32) / 4,
        "second": random.normal(size=(HIDDEN, CLASSES)).astype(np.float32) / 8,
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    folder.mkdir(parents=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    config = {
        "format": 1,
        "name": "mlp",
        "task": "tensor",
        "labels": [],
        "model": "model.onnx",
        "tensor": {"inputs": {"x": {"dtype": "float32", "shape": [FEATURES]}}, "outputs": ["output"]},
        "files": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
    }
    (folder / "slipway.json").write_text(json.dumps(config))
    rows = random.normal(size=(BODIES, FEATURES)).round(4)
    return Model("mlp", folder, tuple({"x": [row.tolist()]} for row in rows))


def news(folder: Path) -> Model:
    """MiniLM in 8 bits with its tokenizer, as `slipway build` left it; texts of 1/8 to 8/8 of its sample."""
    built = ROOT / "build" / "news-topics"
    if not (built / "model.tar.gz").is_file():
        raise Unavailable("news-topics is not built; run: slipway build news-topics")
    folder.mkdir(parents=True)
    with tarfile.open(built / "model.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    words = json.loads((built / "sample.json").read_text())["inputs"].split()
    texts = [" ".join(words[: round(len(words) * part / BODIES)]) for part in range(1, BODIES + 1)]
    return Model("news-topics", folder, tuple(texts))


MODELS = {"mlp": mlp, "news-topics": news}
