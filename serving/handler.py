"""The handler contract of SageMaker's toolkits, for every task: model_fn, input_fn, predict_fn, output_fn.

Apart from the server, so that the same functions run under AWS's own model servers: the artifact's `code/inference.py`
re-exports them, or replaces some. A toolkit passes `context` to a function that has the extra parameter.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from serving import json_lines
from serving.config import ServingConfig
from serving.cores import usable_cores
from serving.errors import ModelError, RequestError
from serving.tasks import TASKS
from serving.tasks.arrays import Buffers, npy_parts, safetensors_parts
from serving.tasks.request import EVENT_STREAM, JSON, JSON_LINES, NPY, SAFETENSORS, Body, Request

if TYPE_CHECKING:
    from serving.tasks import Task

DEFAULT_DIRECTORY = "/opt/ml/model"


@dataclass(frozen=True)
class Model:
    """A loaded artifact."""

    config: ServingConfig
    task: Task
    session: Any
    """An `onnxruntime.InferenceSession`, for a `.tflite` a `serving.litert.Session`, for a model of two graphs a
    `serving.generation.Session`."""


def model_fn(model_dir: str, context: Any = None) -> Model:
    """Verifies and loads the unpacked artifact. Raises ModelError, naming the file."""
    config = _config(str(model_dir))
    config.verify_files()
    session = open_model(config, config.path(config.model), thread_count())
    task = TASKS[config.task]
    _check_names(config, "inputs", set(task.input_axes(config)), {one.name for one in session.get_inputs()})
    _check_names(config, "outputs", set(task.output_names(config)), {one.name for one in session.get_outputs()})
    return Model(config, task, session)


def input_fn(body: Body, content_type: str | None, context: Any = None) -> Request | json_lines.Lines:
    """Decodes a request, or one on each line of JSON Lines. The artifact is the one that `context` names, else the
    container's. Raises RequestError.
    """
    config = _config(_directory(context))
    task = TASKS[config.task]
    if json_lines.sent(content_type):
        return json_lines.decode(body, lambda line: _whole(task.decode_request(line, JSON, config)))
    return task.decode_request(body, content_type, config)


def predict_fn(data: Request | json_lines.Lines, model: Model) -> Any:
    """One forward pass over the request's samples; returns what the client gets, arrays not yet encoded.

    Of JSON Lines, `json_lines.Answers`, in as few passes as the model bears. Of a request for a stream, its parts as
    they come to be.
    """
    if isinstance(data, json_lines.Lines):
        together = (lambda requests: predict_all(requests, model)) if takes_batches(model) else None
        return json_lines.answered(data, model.task.batch_key, together, lambda request: predict_fn(request, model))
    if data.parameters.get("stream"):
        return model.task.stream(model.session, data, model.config)
    outputs = run(model, data.samples)
    return model.task.answer(outputs, data, model.config)


def predict_all(requests: Sequence[Request], model: Model) -> list[Any] | None:
    """`predict_fn` of several requests of one `batch_key` in one forward pass, in order.

    None where the outputs do not have a row for each sample, so that nobody can tell whose is which.
    """
    samples = model.task.join([request.samples for request in requests])
    outputs = run(model, samples)
    if any(array.ndim == 0 or len(array) != len(samples) for array in outputs.values()):
        return None
    answers = []
    end = 0
    for request in requests:
        start, end = end, end + len(request.samples)
        part = {name: array[start:end] for name, array in outputs.items()}
        answers.append(model.task.answer(part, request, model.config))
    return answers


def run(model: Model, samples: Sequence[Any]) -> dict[str, np.ndarray[Any, Any]]:
    """One forward pass over decoded samples: the model's outputs by name."""
    feeds = model.task.encode(samples, model.config)
    names = model.task.output_names(model.config)
    return dict(zip(names, model.session.run(names, feeds), strict=True))


def takes_batches(model: Model) -> bool:
    """Whether the model's first axis is free, so that a batch may have any size."""
    shapes = (getattr(one, "shape", None) for one in model.session.get_inputs())
    return not any(shape and isinstance(shape[0], int) for shape in shapes)


def output_fn(prediction: Any, accept: str | None) -> bytes:
    """Encodes an answer as JSON or JSON Lines, or its arrays as `.npy` or safetensors where asked.

    A stream is put together: AWS's toolkits send whole answers. Raises RequestError (406).
    """
    return b"".join(prediction if isinstance(prediction, Iterator) else encode(prediction, negotiate(accept)))


def encode(prediction: Any, kind: str) -> Buffers:
    """An answer as the parts of a body of a media type that `negotiate` gave; arrays are not copied.

    Raises RequestError (406).
    """
    if kind == JSON:
        return [_json(prediction)]
    if kind == JSON_LINES:
        return [b"\n".join(map(_json, prediction if isinstance(prediction, json_lines.Answers) else [prediction]))]
    outputs: Any = prediction.get("outputs") if isinstance(prediction, dict) else None
    if isinstance(prediction, np.ndarray):
        outputs = {"output": prediction}
    if not outputs:
        raise RequestError(406, f"{kind} holds arrays, and this answer is none; accept {JSON}")
    if kind == SAFETENSORS:
        return safetensors_parts(outputs)
    if len(outputs) != 1:
        raise RequestError(406, f"{NPY} holds one array, and this answer is not one; accept {JSON} or {SAFETENSORS}")
    return npy_parts(next(iter(outputs.values())))


def negotiate(accept: str | None, content_type: str | None = None) -> str:
    """The media type to answer with: the first of an Accept header that can be given. Raises RequestError (406).

    Where that says nothing, JSON Lines are answered by JSON Lines, and everything else by JSON.
    """
    if not accept or accept == "*/*":
        return JSON_LINES if json_lines.sent(content_type) else JSON
    for part in accept.split(","):
        wanted = part.partition(";")[0].strip().lower()
        if wanted in (NPY, SAFETENSORS, JSON_LINES):
            return wanted
        if wanted in (JSON, EVENT_STREAM, "*/*", "application/*", ""):  # a request asks for a stream in its body
            return JSON
    raise RequestError(406, f"answers are {JSON}, {JSON_LINES}, {NPY} or {SAFETENSORS}, not {accept[:100]}")


def thread_count() -> int:
    """Threads of one run: `SLIPWAY_THREADS`, else the usable cores. Raises ModelError."""
    return wanted_threads() or usable_cores()


def wanted_threads() -> int:
    """`SLIPWAY_THREADS`; 0 where it is not set. Raises ModelError."""
    wanted = os.environ.get("SLIPWAY_THREADS", "")
    if wanted and (not wanted.isdecimal() or int(wanted) < 1):
        raise ModelError(f"SLIPWAY_THREADS must be an integer of at least 1, not {wanted!r}")
    return int(wanted or 0)


@functools.lru_cache(maxsize=8)
def _config(directory: str) -> ServingConfig:
    return ServingConfig.read(Path(directory))


def _directory(context: Any) -> str:
    properties = getattr(context, "system_properties", None) or {}
    return str(properties.get("model_dir") or os.environ.get("SM_MODEL_DIR", DEFAULT_DIRECTORY))


def open_model(config: ServingConfig, path: Path, threads: int) -> Any:
    """The session that runs the task's model, whose main file is `path`. Raises ModelError."""
    if config.generation is None:
        return open_session(path, threads)
    from serving.generation import Session

    return Session(path, threads, config.generation)


def open_session(path: Path, threads: int) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU, or what stands in for it. Raises ModelError."""
    if path.suffix == ".tflite":
        from serving.litert import Session

        return Session(path, threads)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's exceptions share no other base
        raise ModelError(f"{path}: cannot be loaded by ONNX Runtime {onnxruntime.__version__}: {error}") from None


def _check_names(config: ServingConfig, kind: str, wanted: set[str], found: set[str]) -> None:
    missing = wanted - found if kind == "outputs" else wanted ^ found
    if missing:
        raise ModelError(
            f"{config.path(config.model)}: its {kind} are {', '.join(sorted(found))}, "
            f"but the task {config.task} needs {', '.join(sorted(wanted))}"
        )


def _whole(request: Request) -> Request:
    if request.parameters.get("stream"):
        raise RequestError(400, "stream: JSON Lines are answered as a whole")
    return request


def _json(prediction: Any) -> bytes:
    return orjson.dumps(prediction, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)


def _plain(value: Any) -> Any:
    """What orjson cannot encode itself: arrays that are not contiguous or of a dtype that it lacks."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"an answer of {type(value).__name__} cannot be written as JSON")
