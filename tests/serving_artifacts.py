"""Tiny artifacts, one for each task, whose answers can be computed by hand; and servers on them.

Apart because unit tests, our server's contract test and the one against AWS's toolkit use the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

import serving
from serving.tasks import TASKS

PROJECT = Path(__file__).parents[1]
LABELS = ["sport", "business"]
VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "goal": 2, "match": 3, "market": 4, "shares": 5}
WORDS = np.array([[0, 0], [0.1, 0.1], [2, -1], [1, 0], [-1, 2], [0, 1]], np.float32)
"""Each word's logits; a text's are their sum."""

SECTIONS: dict[str, dict[str, Any]] = {
    "text-classification": {"text": {"tokenizer": "tokenizer.json", "max_length": 8}},
    "image-classification": {"image": {"size": [4, 4], "mode": "L", "mean": [0.5], "std": [0.25]}},
    "audio-classification": {"audio": {"sample_rate": 8000, "seconds": 0.25, "features": "waveform"}},
    "tensor": {"tensor": {"inputs": {"x": {"dtype": "float32", "shape": [3]}}, "outputs": ["output"]}},
}
MATRIX = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


def write_artifact(directory: Path, task: str, *, code: bool = True) -> Path:
    """An unpacked `model.tar.gz` as the build makes it."""
    directory.mkdir(parents=True)
    model = _GRAPHS[task]()
    onnx.save(model, directory / "model.onnx")
    names = ["model.onnx"]
    if task == "text-classification":
        (directory / "tokenizer.json").write_text(tokenizer_json())
        names.append("tokenizer.json")
    labels = [] if task == "tensor" else LABELS
    values = {"format": 1, "name": "tiny", "task": task, "labels": labels, "model": "model.onnx", **SECTIONS[task]}
    values["files"] = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}
    (directory / "slipway.json").write_text(json.dumps(values))
    if code:
        (directory / "code").mkdir()
        shutil.copy(Path(serving.__file__).with_name("inference.py"), directory / "code/inference.py")
        pins = [f"{name}=={version(name)}\n" for name in TASKS[task].REQUIREMENTS]
        (directory / "code/requirements.txt").write_text("".join(pins))
        shutil.copytree(
            Path(serving.__file__).parent, directory / "code/serving", ignore=shutil.ignore_patterns("__pycache__")
        )
    return directory


def tokenizer_json() -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=32, pad_id=0, pad_token="[PAD]")  # as some published files do
    text: str = tokenizer.to_str()
    return text


def _float(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _constant(name: str, values: np.ndarray) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(values, name)


def _model(nodes: list[Any], inputs: list[Any], output: Any, constants: list[Any]) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _text() -> onnx.ModelProto:
    shape = ("batch", "sequence")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["each", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    constants = [
        _constant("words", WORDS),
        _constant("last", np.array([2], np.int64)),
        _constant("middle", np.array([1], np.int64)),
    ]
    return _model(nodes, inputs, _float("logits", "batch", 2), constants)


def _image() -> onnx.ModelProto:
    weights = np.linspace(-1, 1, 32, dtype=np.float32).reshape(16, 2)
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    inputs = [_float("pixels", "batch", 1, 4, 4)]
    return _model(nodes, inputs, _float("logits", "batch", 2), [_constant("weights", weights)])


def _audio() -> onnx.ModelProto:
    weights = np.stack([np.ones(2000, np.float32), -np.ones(2000, np.float32)], axis=1) / 100
    nodes = [helper.make_node("MatMul", ["waveform", "weights"], ["logits"])]
    inputs = [_float("waveform", "batch", 2000)]
    return _model(nodes, inputs, _float("logits", "batch", 2), [_constant("weights", weights)])


def _tensor() -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "matrix"], ["output"])]
    return _model(nodes, [_float("x", "batch", 3)], _float("output", "batch", 2), [_constant("matrix", MATRIX)])


_GRAPHS = {
    "text-classification": _text,
    "image-classification": _image,
    "audio-classification": _audio,
    "tensor": _tensor,
}


def png(array: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def wav(signal: np.ndarray, rate: int, width: int = 2, channels: int = 1) -> bytes:
    """A PCM file of `signal`, floats in −1…1, written by the standard library; `width` in bytes."""
    scaled = np.clip(np.round(signal * (1 << (8 * width - 1))), -(1 << (8 * width - 1)), (1 << (8 * width - 1)) - 1)
    if width == 1:
        data = (scaled + 128).astype(np.uint8).tobytes()
    else:
        data = scaled.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return stream.getvalue()


class Client:
    """One connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def request(
        self,
        body: bytes | str | None,
        content_type: str = "application/json",
        *,
        accept: str | None = None,
        path: str = "/invocations",
        method: str = "POST",
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        headers = {"Content-Type": content_type} | ({"Accept": accept} if accept else {})
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read()


def start_server(directory: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`python -m serving` on a free port; standard input is a pipe."""
    import os

    command = [sys.executable, "-m", "serving", "--model-dir", str(directory), "--port", "0", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=PROJECT, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=os.environ | environment
    )


@contextlib.contextmanager
def running_server(directory: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """A server that is ready, and a client of it; it is gone afterwards."""
    process = start_server(directory, "--exit-with-parent", **environment)
    client = None
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        client = Client(json.loads(line)["port"])
        yield process, client
    finally:
        if client is not None:
            client.connection.close()
        if process.poll() is None:
            process.kill()
        process.communicate()
