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
from collections.abc import Callable, Iterator
from functools import partial
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
KINDS = ["O", "B-SPORT", "I-SPORT", "B-MONEY", "I-MONEY"]
WORD_KINDS = np.array(
    [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 3, 0, 0, 0], [0, 0, 2, 0, 0], [0, 0, 0, 4, 0], [0, 0, 0, 0, 2]], np.float32
)
"""Each word's logits of the kinds: goal begins a span of sport and match goes on, as market and shares do of money."""
SYMBOLS = ["<blank>", "|", "a", "b"]
"""Of the speech model, whose sound names one in each of ten frames: the one whose tenth its mean is nearest to."""
VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "goal": 2, "match": 3, "market": 4, "shares": 5}
WORDS = np.array([[0, 0], [0.1, 0.1], [2, -1], [1, 0], [-1, 2], [0, 1]], np.float32)
"""Each word's logits; a text's are their sum."""

SECTIONS: dict[str, dict[str, Any]] = {
    "text-classification": {"text": {"tokenizer": "tokenizer.json", "max_length": 8}},
    "image-classification": {"image": {"size": [4, 4], "mode": "L", "mean": [0.5], "std": [0.25]}},
    "audio-classification": {"audio": {"sample_rate": 8000, "seconds": 0.25, "features": "waveform"}},
    "object-detection": {
        "image": {"size": [4, 4], "mode": "L"},
        "detection": {"score_threshold": 0.6, "iou_threshold": 0.4, "max_detections": 3},
    },
    "tabular": {
        "tabular": {
            "columns": [
                {"name": "kind", "type": "category", "categories": ["small", "large"], "missing": "small"},
                {"name": "length", "missing": "nan"},
                {"name": "count", "type": "integer"},
            ],
            "inputs": "columns",
        }
    },
    "tensor": {"tensor": {"inputs": {"x": {"dtype": "float32", "shape": [3]}}, "outputs": ["output"]}},
    "text-embedding": {"text": {"tokenizer": "tokenizer.json", "max_length": 8}},
    "token-classification": {"text": {"tokenizer": "tokenizer.json", "max_length": 8}},
    "text-generation": {
        "text": {"tokenizer": "tokenizer.json", "max_length": 8},
        "generation": {"max_new_tokens": 6},  # starts with [PAD], ends with [UNK]
    },
    "speech-recognition": {
        "audio": {"sample_rate": 8000, "seconds": 0.25, "features": "waveform"},
        "ctc": {"blank": 0, "word_delimiter": "|"},
    },
}
MATRIX = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


def write_artifact(directory: Path, task: str, *, code: bool = True) -> Path:
    """An unpacked `model.tar.gz` as the build makes it."""
    directory.mkdir(parents=True)
    model = _GRAPHS[task]()
    onnx.save(model, directory / "model.onnx")
    names = ["model.onnx"]
    if task == "text-generation":
        onnx.save(_encoder(), directory / "encoder.onnx")
        names.append("encoder.onnx")
    if "text" in SECTIONS[task]:
        (directory / "tokenizer.json").write_text(tokenizer_json())
        names.append("tokenizer.json")
    labels = LABELS if task.endswith("-classification") or task in ("object-detection", "tabular") else []
    labels = {"speech-recognition": SYMBOLS, "token-classification": KINDS}.get(task, labels)
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
    outputs = output if isinstance(output, list) else [output]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _text(output: str = "logits") -> onnx.ModelProto:
    shape = ("batch", "sequence")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["each", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], [output], keepdims=0),
    ]
    constants = [
        _constant("words", WORDS),
        _constant("last", np.array([2], np.int64)),
        _constant("middle", np.array([1], np.int64)),
    ]
    return _model(nodes, inputs, _float(output, "batch", 2), constants)


def _tokens() -> onnx.ModelProto:
    shape = ("batch", "sequence")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["each", "wide"], ["logits"]),
    ]
    constants = [_constant("words", WORD_KINDS), _constant("last", np.array([2], np.int64))]
    return _model(nodes, inputs, _float("logits", "batch", "sequence", len(KINDS)), constants)


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


ANCHORS = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.6], [0.5, 0.25, 1, 1]], np.float32)
ANCHOR_LOGITS = np.array([[2, -9], [1, -9], [-9, 0.5]], np.float32)
"""Of a black picture; each white pixel of 16 adds a sixteenth."""


def _detection() -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["brightness"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["brightness", "last"], ["rows"]),
        helper.make_node("Add", ["rows", "of_anchors"], ["logits"]),
        helper.make_node("Mul", ["rows", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "anchors"], ["boxes"]),
    ]
    constants = [
        _constant("last", np.array([3], np.int64)),
        _constant("of_anchors", ANCHOR_LOGITS[None]),
        _constant("zero", np.zeros(1, np.float32)),
        _constant("anchors", ANCHORS[None]),
    ]
    outputs = [_float("boxes", "batch", 3, 4), _float("logits", "batch", 3, 2)]
    return _model(nodes, [_float("pixels", "batch", 1, 4, 4)], outputs, constants)


def _speech() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Reshape", ["waveform", "shape"], ["frames"]),
        helper.make_node("ReduceMean", ["frames"], ["means"], axes=[2], keepdims=1),
        helper.make_node("Sub", ["means", "levels"], ["away"]),
        helper.make_node("Abs", ["away"], ["distances"]),
        helper.make_node("Neg", ["distances"], ["logits"]),
    ]
    constants = [
        _constant("shape", np.array([0, 10, 200], np.int64)),
        _constant("levels", np.array([0, 0.1, 0.2, 0.3], np.float32)),
    ]
    return _model(nodes, [_float("waveform", "batch", 2000)], _float("logits", "batch", 10, 4), constants)


def _tabular() -> onnx.ModelProto:
    """The first label scores the count, the second the length, or 0 without one; 10 more for `large`."""
    inputs = [
        helper.make_tensor_value_info("kind", TensorProto.STRING, ("batch", 1)),
        _float("length", "batch", 1),
        helper.make_tensor_value_info("count", TensorProto.INT64, ("batch", 1)),
    ]
    nodes = [
        helper.make_node("Equal", ["kind", "wanted"], ["large"]),
        helper.make_node("Cast", ["large"], ["one"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["one", "ten"], ["more"]),
        helper.make_node("IsNaN", ["length"], ["unknown"]),
        helper.make_node("Where", ["unknown", "zero", "length"], ["known"]),
        helper.make_node("Add", ["known", "more"], ["second"]),
        helper.make_node("Cast", ["count"], ["first"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["first", "second"], ["scores"], axis=1),
    ]
    constants = [
        helper.make_tensor("wanted", TensorProto.STRING, [1], [b"large"]),
        _constant("ten", np.array([10], np.float32)),
        _constant("zero", np.array([0], np.float32)),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, [_float("scores", "batch", 2)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _tensor() -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "matrix"], ["output"])]
    return _model(nodes, [_float("x", "batch", 3)], _float("output", "batch", 2), [_constant("matrix", MATRIX)])


NEXT = np.zeros((6, 6), np.float32)
"""What follows a token, beside the words of the text: after goal comes match, after market shares, then the end."""
NEXT[2, 3] = NEXT[4, 5] = 5
NEXT[3, 1] = NEXT[5, 1] = 9


def _encoder() -> onnx.ModelProto:
    """Of each token a vector as long as the vocabulary, with a one where the word is."""
    shape = ("batch", "sequence")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    nodes = [
        helper.make_node("Gather", ["ones", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["each", "wide"], ["kept"]),
        helper.make_node("Unsqueeze", ["kept", "heads"], ["cross.0.key"]),
    ]
    constants = [
        _constant("ones", np.diag(np.array([0, 0, 1, 1, 1, 1], np.float32))),
        _constant("last", np.array([2], np.int64)),
        _constant("heads", np.array([1], np.int64)),
    ]
    return _model(nodes, inputs, _float("cross.0.key", "batch", 1, "sequence", 6), constants)


def _decoder() -> onnx.ModelProto:
    """The text's words, once and in no order, then what follows the last token; keys are the tokens so far."""
    inputs = [
        helper.make_tensor_value_info("decoder_input_ids", TensorProto.INT64, ("batch", 1)),
        _float("cross.0.key", "batch", 1, "sequence", 6),
        _float("past.0.key", "batch", 1, "past", 1),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["cross.0.key"], ["words"], axes=[1, 2], keepdims=0),
        helper.make_node("Squeeze", ["decoder_input_ids", "last"], ["token"]),
        helper.make_node("Gather", ["next", "token"], ["follows"]),
        helper.make_node("Add", ["words", "follows"], ["logits"]),
        helper.make_node("Cast", ["decoder_input_ids"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["number", "ends"], ["key"]),
        helper.make_node("Concat", ["past.0.key", "key"], ["present.0.key"], axis=2),
    ]
    outputs = [_float("logits", "batch", 6), _float("present.0.key", "batch", 1, "longer", 1)]
    constants = [
        _constant("next", NEXT),
        _constant("last", np.array([1], np.int64)),
        _constant("ends", np.array([1, 3], np.int64)),
    ]
    return _model(nodes, inputs, outputs, constants)


_GRAPHS: dict[str, Callable[[], onnx.ModelProto]] = {
    "text-classification": _text,
    "image-classification": _image,
    "audio-classification": _audio,
    "tensor": _tensor,
    "tabular": _tabular,
    "object-detection": _detection,
    "text-embedding": partial(_text, "embeddings"),
    "token-classification": _tokens,
    "speech-recognition": _speech,
    "text-generation": _decoder,
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
