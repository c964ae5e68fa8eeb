"""The functions that an artifact is served with: its own `code/inference.py`, completed by `serving.handler`.

Apart from the server, which only knows requests' bytes and answers' bytes.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from serving import handler
from serving.errors import ModelError
from serving.tasks.arrays import Buffers
from serving.tasks.request import EVENT_STREAM, JSON, MAX_SAMPLES, Request

Answer = tuple["Buffers | Iterator[Any]", str]
"""The parts of a body, or an iterator that gives them as they come to be (a stream), and its media type."""


class Call(NamedTuple):
    """One request as it came."""

    body: bytes
    content_type: str | None
    accept: str | None


@dataclass
class Program:
    """A loaded model with the functions around it."""

    model: Any
    input_fn: Callable[..., Any]
    predict_fn: Callable[..., Any]
    output_fn: Callable[..., Any]
    transform_fn: Callable[..., Any] | None
    batches: bool = False
    """Whether several requests may share a forward pass: the handler's own prediction on a free first axis."""

    def respond(self, call: Call) -> Answer:
        """One request to its answer. Raises RequestError, or whatever the model's code does."""
        chosen = self._answer_type(call)
        if self.transform_fn is not None:
            return _answer(self.transform_fn(self.model, call.body, call.content_type, chosen), chosen)
        data = self.input_fn(call.body, call.content_type)
        return self._encode(self.predict_fn(data, self.model), chosen)

    def respond_all(self, calls: Sequence[Call]) -> list[Answer | Exception]:
        """Several requests to their answers, in order, in few forward passes; an error is its own request's alone."""
        if len(calls) == 1 or not self.batches:
            return [self._attempt(call) for call in calls]
        results: list[Answer | Exception] = [_NOTHING] * len(calls)
        groups: dict[Hashable, list[tuple[int, Request, str]]] = {}
        for index, call in enumerate(calls):
            try:
                chosen = self._answer_type(call)
                data = self.input_fn(call.body, call.content_type)
                if isinstance(data, Request):
                    groups.setdefault(self.model.task.batch_key(data), []).append((index, data, chosen))
                else:
                    results[index] = self._encode(self.predict_fn(data, self.model), chosen)
            except Exception as error:  # the model's code may raise anything; the caller tells kinds apart
                results[index] = error
        for members in groups.values():
            for group in _split(members):
                for (index, _, _), result in zip(group, self._predict(group), strict=True):
                    results[index] = result
        return results

    def _attempt(self, call: Call) -> Answer | Exception:
        try:
            return self.respond(call)
        except Exception as error:  # the model's code may raise anything; the caller tells kinds apart
            return error

    def _predict(self, group: Sequence[tuple[int, Request, str]]) -> Iterator[Answer | Exception]:
        """Answers of requests of one key: by one forward pass, or by one each where that cannot be."""
        shared: list[Any] | None = None
        if len(group) > 1 and self.batches:
            try:
                shared = handler.predict_all([data for _, data, _ in group], self.model)
                self.batches = shared is not None
            except Exception:  # one request's fault must not be its neighbours': each is tried alone, and tells its own
                shared = None
        for position, (_, data, chosen) in enumerate(group):
            try:
                yield self._encode(shared[position] if shared else self.predict_fn(data, self.model), chosen)
            except Exception as error:
                yield error

    def _encode(self, prediction: Any, chosen: str) -> Answer:
        if self.output_fn is handler.output_fn:
            if isinstance(prediction, Iterator):
                return prediction, EVENT_STREAM
            return handler.encode(prediction, chosen), chosen
        return _answer(self.output_fn(prediction, chosen), chosen)

    def _answer_type(self, call: Call) -> str:
        """What `output_fn` is asked for: our own knows some media types, a model's own may know any."""
        if self.transform_fn is None and self.output_fn is handler.output_fn:
            return handler.negotiate(call.accept, call.content_type)
        return JSON if call.accept in (None, "", "*/*") else str(call.accept)


_FUNCTIONS = ("model_fn", "input_fn", "predict_fn", "output_fn")
_NOTHING = RuntimeError("no answer was made")


def _split(members: Sequence[tuple[int, Request, str]]) -> Iterator[Sequence[tuple[int, Request, str]]]:
    """Groups of at most MAX_SAMPLES samples together, or of one request."""
    group: list[tuple[int, Request, str]] = []
    rows = 0
    for member in members:
        size = len(member[1].samples)
        if group and rows + size > MAX_SAMPLES:
            yield group
            group, rows = [], 0
        group.append(member)
        rows += size
    yield group


def _answer(result: Any, chosen: str) -> Answer:
    if isinstance(result, tuple):  # the toolkits' other convention: (body, content type)
        result, chosen = result
    if isinstance(result, Iterator):
        return result, chosen
    return [result.encode() if isinstance(result, str) else bytes(result)], chosen


def load(directory: Path, prepare: Callable[[bool], None] = lambda at_once: None) -> Program:
    """Imports `code/inference.py` where there is one and loads the model. Raises ModelError.

    Before the model is loaded, `prepare` is told whether predictions may run at once: own code may not bear it.
    """
    context = SimpleNamespace(system_properties={"model_dir": str(directory)}, manifest={}, request_processor=[])
    code = directory / "code"
    if (code / "inference.py").is_file():
        module = _import(code / "inference.py")
    elif (directory / "slipway.json").is_file():
        module = handler
    else:
        raise ModelError(
            f"{directory}: holds neither slipway.json nor code/inference.py; is it an unpacked model.tar.gz?"
        )

    def function(name: str, arguments: int) -> Callable[..., Any]:
        return _with_context(getattr(module, name, None) or getattr(handler, name), arguments, context)

    transform = getattr(module, "transform_fn", None)
    model_fn = function("model_fn", 1)
    predict = function("predict_fn", 2)
    ours = transform is None and predict is handler.predict_fn
    prepare(ours and all(getattr(module, name, None) in (None, getattr(handler, name)) for name in _FUNCTIONS))
    try:
        model = model_fn(str(directory))
    except ModelError:
        raise
    except Exception as error:  # the user's code may raise anything; it is reported as the reason
        raise ModelError(f"model_fn failed: {type(error).__name__}: {error}") from error
    return Program(
        model=model,
        input_fn=function("input_fn", 2),
        predict_fn=predict,
        output_fn=function("output_fn", 2),
        transform_fn=_with_context(transform, 4, context) if transform else None,
        batches=ours and isinstance(model, handler.Model) and handler.takes_batches(model),
    )


def _import(path: Path) -> ModuleType:
    """Imports the artifact's code; its folder comes last on the path, lest its `serving` shadow this one."""
    sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location("inference", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["inference"] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # any error of the user's module is the reason why it cannot be served
        raise ModelError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _with_context(function: Callable[..., Any], arguments: int, context: Any) -> Callable[..., Any]:
    """Binds the toolkits' `context` where the function takes one argument more than the contract's."""
    count = len(inspect.signature(function).parameters)
    if count == arguments:
        return function
    if count == arguments + 1:
        return lambda *given: function(*given, context)
    raise ModelError(f"{function.__name__} takes {count} arguments; it must take {arguments}, and may take a context")
