"""A LiteRT model behind the methods of an ONNX Runtime session that the handler uses.

Apart because only a `.tflite` needs its library. Such a file takes one sample of a fixed shape; here, as everywhere in
this package, axis 0 is the batch, and a text may be shorter than the model is laid out for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Semaphore
from typing import Any

import numpy as np

from serving.cores import usable_cores
from serving.errors import ModelError, RequestError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Value:
    """An input or output, as a session of ONNX Runtime describes it. A whole number in `shape` is a fixed length: that
    of the first axis says that batches gain nothing."""

    name: str
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Signature:
    """One layout of the model: the shape and dtype of each input. Layouts share their weights in the file."""

    key: str
    inputs: Mapping[str, tuple[tuple[int, ...], Any]]
    outputs: tuple[str, ...]

    @property
    def size(self) -> int:
        return sum(prod(shape) for shape, _ in self.inputs.values())

    def holds(self, feeds: Mapping[str, Array]) -> bool:
        """Whether a sample of each feed fits in, padded where it is shorter."""
        return all(
            feed.ndim == len(shape) and all(n <= most for n, most in zip(feed.shape[1:], shape[1:], strict=True))
            for feed, (shape, _) in ((feeds[name], self.inputs[name]) for name in self.inputs)
        )


class Session:
    """Runs a `.tflite`. Several threads may: each gets an interpreter of its own, at most one for each core.

    Raises ModelError for a file that cannot be run.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self.path = path
        self.threads = threads
        first = self._open()
        self.signatures = sorted(_signatures(first, path), key=lambda signature: signature.size)
        self._idle = [self._runners(first)]
        self._room = Semaphore(max(1, usable_cores() // threads))

    def get_inputs(self) -> list[Value]:
        return [Value(name, shape) for name, (shape, _) in self.signatures[0].inputs.items()]

    def get_outputs(self) -> list[Value]:
        return [Value(name) for name in self.signatures[0].outputs]

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """The named outputs of a batch; its samples run one after the other. Zeros fill up to the next layout.

        Raises RequestError for whole numbers that the model's narrower type cannot hold.
        """
        signature = next((one for one in self.signatures if one.holds(feeds)), None)
        if signature is None:
            given = ", ".join(f"{name} {array.shape}" for name, array in feeds.items())
            raise ModelError(f"{self.path}: is laid out for smaller inputs than {given}")
        fitted = {name: _fitted(name, feeds[name], *of) for name, of in signature.inputs.items()}
        with self._interpreter() as runners:
            runner = runners[signature.key]
            rows = range(len(next(iter(fitted.values()))))
            answers = [runner(**{name: array[row : row + 1] for name, array in fitted.items()}) for row in rows]
        return [np.concatenate([answer[name] for answer in answers]) for name in names]

    @contextmanager
    def _interpreter(self) -> Iterator[dict[str, Any]]:
        """An interpreter that no other thread uses, by its runners. They are not safe to share."""
        with self._room:
            try:
                runners = self._idle.pop()
            except IndexError:
                runners = self._runners(self._open())
            try:
                yield runners
            finally:
                self._idle.append(runners)

    def _open(self) -> Any:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ModelError(
                f"{self.path}: needs the package ai-edge-litert, which cannot be imported here ({error}); "
                "the artifact's code/requirements.txt has its version"
            ) from None
        try:
            return Interpreter(model_path=str(self.path), num_threads=self.threads)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.path}: cannot be loaded by LiteRT: {error}") from None

    def _runners(self, interpreter: Any) -> dict[str, Any]:
        return {signature.key: interpreter.get_signature_runner(signature.key) for signature in self.signatures}


def _signatures(interpreter: Any, path: Path) -> Iterator[Signature]:
    keys = interpreter.get_signature_list()
    if not keys:
        raise ModelError(f"{path}: has no signatures, which name a model's inputs and outputs")
    for key, names in keys.items():
        details = interpreter.get_signature_runner(key).get_input_details()
        inputs = {name: (tuple(map(int, one["shape"])), one["dtype"]) for name, one in details.items()}
        for name, (shape, _) in inputs.items():
            if shape[:1] != (1,):
                raise ModelError(f"{path}: its input {name} has the shape {shape}; the first axis must be 1")
        yield Signature(key, inputs, tuple(names["outputs"]))


def _fitted(name: str, array: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """A feed in the model's type, each sample filled up with zeros to `shape`."""
    wanted = np.dtype(dtype)
    if wanted.kind in "iu" and array.dtype.itemsize > wanted.itemsize and array.size:
        bounds = np.iinfo(wanted)
        if int(array.min()) < bounds.min or int(array.max()) > bounds.max:
            raise RequestError(
                400, f"{name}: numbers beyond {bounds.min} to {bounds.max}, which this model cannot take"
            )
    if array.shape[1:] == shape[1:]:
        return array.astype(wanted, copy=False)
    filled = np.zeros((len(array), *shape[1:]), wanted)
    filled[tuple(slice(length) for length in array.shape)] = array
    return filled
