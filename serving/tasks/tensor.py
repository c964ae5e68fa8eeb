"""The task tensor: named arrays in, named arrays out, nothing added.

Requests: `application/json` `{"inputs": {name: nested list}}` (or the list alone for a model of one input),
`application/x-npy` for a model of one input, or `application/x-safetensors`; the first axis is the batch. Answers:
`{"outputs": {name: nested list}}`, or the outputs as `application/x-safetensors` or, where there is one,
`application/x-npy`, if the client accepts that. Raw arrays are views of the body until the model reads them.

Where the model has labels, `"labels"` beside the outputs (of JSON) names each row's class: the highest value of the
first output, (batch, classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.config import ServingConfig, Tensor, TensorInput
from serving.errors import ModelError, RequestError
from serving.tasks.arrays import parse_npy, parse_safetensors
from serving.tasks.classification import Arrays
from serving.tasks.request import JSON, NPY, SAFETENSORS, Body, Request, chain, media_type, parse_json, unsupported

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

CONTENT_TYPES = (JSON, NPY, SAFETENSORS)
REQUIREMENTS = ("numpy", "onnxruntime", "orjson")


class Rows(Sequence[Arrays]):
    """The samples of a request as they came: one dict of rows each, cut out of whole arrays only when asked for."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Rows({name: array[index] for name, array in self.arrays.items()})
        return {name: array[index] for name, array in self.arrays.items()}


def encode(samples: Sequence[Arrays], config: ServingConfig) -> Arrays:
    """Dicts name → array without batch axis to one dict with it, in the declared dtypes."""
    if isinstance(samples, Rows):  # already checked and in those dtypes
        return samples.arrays
    return {
        name: np.stack([sample[name] for sample in samples]).astype(one.dtype, copy=False)
        for name, one in _section(config).inputs.items()
    }


def decode_request(body: Body, content_type: str | None, config: ServingConfig) -> Request:
    """The samples of a request: one dict name → array for each row. Raises RequestError, saying expected and given."""
    inputs = _section(config).inputs
    kind = media_type(content_type)
    if kind == NPY:
        given: Any = parse_npy(body)
    elif kind == SAFETENSORS:
        given = parse_safetensors(body)
    elif kind == JSON:
        given, parameters = parse_json(body)
        if parameters:
            raise RequestError(400, f"unknown parameter {min(parameters)!r}; the task tensor has none")
    else:
        raise unsupported(content_type, CONTENT_TYPES)
    if not isinstance(given, dict):
        if len(inputs) != 1:
            raise RequestError(400, f"inputs must be an object with the keys {', '.join(inputs)}")
        given = {next(iter(inputs)): given}
    if given.keys() != inputs.keys():
        raise RequestError(400, f"inputs must have the keys {', '.join(inputs)}, not {', '.join(given) or 'none'}")
    arrays = {name: _checked(name, given[name], one) for name, one in inputs.items()}
    if len(arrays) > 1:
        rows = {name: len(array) for name, array in arrays.items()}
        if len(set(rows.values())) != 1:
            raise RequestError(400, f"the inputs differ in their first axis, the batch: {rows}")
    return Request(Rows(arrays), single=False)


def batch_key(request: Request) -> Hashable:
    """The shapes of a request's rows, which axes of free length leave open."""
    samples = request.samples
    return tuple(array.shape[1:] for array in samples.arrays.values()) if isinstance(samples, Rows) else id(request)


def join(parts: Iterable[Sequence[Arrays]]) -> Sequence[Arrays]:
    """The rows of several requests in one."""
    parts = list(parts)
    arrays = [part.arrays for part in parts if isinstance(part, Rows)]
    if len(arrays) != len(parts):  # a model's own code made them
        return chain(parts)
    return Rows({name: np.concatenate([one[name] for one in arrays]) for name in arrays[0]})


def postprocess(outputs: Arrays, config: ServingConfig) -> list[Arrays]:
    """For each sample a dict output → array without batch axis."""
    names = _section(config).outputs
    return [dict(zip(names, row, strict=True)) for row in zip(*(outputs[name] for name in names), strict=True)]


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets, `{"outputs": {name: array}}`; the arrays become nested lists in JSON.

    Raises ModelError where the model has labels, and its first output is not (batch, labels).
    """
    if not config.labels:
        return {"outputs": outputs}
    scores = outputs[_section(config).outputs[0]]
    if scores.ndim != 2 or scores.shape[1] != len(config.labels):
        raise ModelError(
            f"the model's first output has shape {scores.shape}, but there are {len(config.labels)} labels"
        )
    return {"outputs": outputs, "labels": [config.label(index) for index in scores.argmax(axis=1).tolist()]}


def input_axes(config: ServingConfig) -> dict[str, dict[int, str]]:
    """Axis 0 is `batch`; an axis of any length is called INPUT_AXIS."""
    return {
        name: {0: "batch"} | {axis: f"{name}_{axis}" for axis, size in enumerate(one.shape, start=1) if size == -1}
        for name, one in _section(config).inputs.items()
    }


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return _section(config).outputs


def _section(config: ServingConfig) -> Tensor:
    if config.tensor is None:
        raise ModelError("slipway.json: tensor: is missing")
    return config.tensor


def _checked(name: str, given: Any, wanted: TensorInput) -> np.ndarray[Any, Any]:
    """One input as an array of the declared dtype and shape."""
    if isinstance(given, np.ndarray):
        array = given
        if array.dtype.newbyteorder("=") != np.dtype(wanted.dtype):
            raise RequestError(400, f"{name}: expected {wanted.dtype}, given {array.dtype}")
        array = array.astype(wanted.dtype, copy=False)
    else:
        array = _from_lists(name, given, np.dtype(wanted.dtype))
    if array.ndim and array.shape[1:] == wanted.shape and array.size:
        return array
    shape = ", ".join(["batch", *("any" if size == -1 else str(size) for size in wanted.shape)])
    if array.ndim != len(wanted.shape) + 1 or any(
        size not in (-1, actual) for size, actual in zip(wanted.shape, array.shape[1:], strict=True)
    ):
        raise RequestError(400, f"{name}: expected shape ({shape}), given {array.shape}")
    if 0 in array.shape:
        raise RequestError(400, f"{name}: expected shape ({shape}), given the empty {array.shape}")
    return array


_KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}


def _from_lists(name: str, given: Any, wanted: np.dtype[Any]) -> np.ndarray[Any, Any]:
    try:
        array = np.array(given)
    except (ValueError, OverflowError):
        raise RequestError(400, f"{name}: must be a full array; its rows differ in length") from None
    if array.size and array.dtype.kind not in _KINDS[wanted.kind]:
        words = {"f": "floats", "i": "integers", "u": "integers", "b": "booleans"}
        raise RequestError(400, f"{name}: expected {wanted}, given {words.get(array.dtype.kind, 'other values')}")
    if array.size and wanted.kind in "iu":
        bounds = np.iinfo(wanted)
        if int(array.min()) < bounds.min or int(array.max()) > bounds.max:
            raise RequestError(400, f"{name}: expected {wanted}, given numbers beyond {bounds.min} to {bounds.max}")
    with np.errstate(over="ignore"):
        result = array.astype(wanted)
    if wanted.kind == "f" and not np.isfinite(result).all():
        raise RequestError(400, f"{name}: expected {wanted}, given numbers beyond its range")
    return result
