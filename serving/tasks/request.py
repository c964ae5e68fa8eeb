"""What every task's request has in common: samples, parameters, media types, JSON, and how requests are joined.

Apart so that the tasks hold only what is particular to their kind of data.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from serving.errors import RequestError

JSON = "application/json"
JSON_LINES = "application/jsonlines"
EVENT_STREAM = "text/event-stream"
NPY = "application/x-npy"
SAFETENSORS = "application/x-safetensors"

MAX_SAMPLES = 256
"""Samples of one request: 6 MB of one-letter texts would otherwise be a million rows of activations."""

Body = bytes | bytearray | memoryview | str


@dataclass(frozen=True)
class Request:
    """A decoded request: `samples` as `encode` takes them, and how the client wants the answer.

    `single` tells that the client sent one sample and no list; `parameters` has only known keys.
    """

    samples: Sequence[Any]
    single: bool
    parameters: dict[str, Any] = field(default_factory=dict)


def media_type(content_type: str | None) -> str:
    """The media type of a Content-Type header, without its parameters; JSON where there is none."""
    return (content_type or JSON).partition(";")[0].strip().lower()


def unsupported(content_type: str | None, accepted: tuple[str, ...]) -> RequestError:
    return RequestError(415, f"content type {content_type!r} is not supported; send one of: {', '.join(accepted)}")


def parse_json(body: Body, known: tuple[str, ...] = ("top_k",)) -> tuple[Any, dict[str, Any]]:
    """`inputs` and `parameters` of a JSON body; `known` are the parameters that the task has. Raises RequestError.

    A task that knows `stream` takes it beside the two, where clients put it.
    """
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from None
    if not isinstance(values, dict) or "inputs" not in values:
        raise RequestError(400, 'the body must be a JSON object like {"inputs": …}')
    keys = ("inputs", "parameters", *(("stream",) if "stream" in known else ()))
    if unknown := values.keys() - set(keys):
        raise RequestError(400, f"unknown key {min(unknown)!r}; known: {', '.join(keys)}")
    parameters = values.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(400, "parameters must be an object")
    if "stream" in values:
        parameters = {**parameters, "stream": values["stream"]}
    if unknown := parameters.keys() - set(known):
        raise RequestError(400, f"unknown parameter {min(unknown)!r}; known: {', '.join(known) or 'none'}")
    top_k = parameters.get("top_k")
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise RequestError(400, f"top_k must be an integer of at least 1, or null for every label, not {top_k!r:.40}")
    return values["inputs"], parameters


def check_count(samples: Sequence[Any]) -> None:
    """Raises RequestError for a batch that is empty or larger than MAX_SAMPLES."""
    if not samples:
        raise RequestError(400, "inputs must not be empty")
    if len(samples) > MAX_SAMPLES:
        raise RequestError(400, f"{len(samples)} inputs are too many for one request; at most {MAX_SAMPLES}")


def parse_base64(text: str, where: str) -> bytes:
    """The bytes of a base64 string, plain or as a `data:` URL. Raises RequestError."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(400, f"{where} is not base64") from None


def any_batch(request: Request) -> Hashable:
    """For tasks whose samples all fit into one batch, whatever their lengths."""
    return None


def chain(parts: Iterable[Sequence[Any]]) -> Sequence[Any]:
    """The samples of several requests as those of one."""
    return list(itertools.chain.from_iterable(parts))
