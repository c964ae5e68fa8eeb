"""The functions that an artifact is served with: its own `code/inference.py`, completed by `serving.handler`.

Apart from the server, which only knows three callables.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from serving import handler
from serving.errors import ModelError
from serving.tasks.request import JSON


@dataclass(frozen=True)
class Program:
    """A loaded model with the functions around it."""

    model: Any
    input_fn: Callable[..., Any]
    predict_fn: Callable[..., Any]
    output_fn: Callable[..., Any]
    transform_fn: Callable[..., Any] | None

    def respond(self, body: bytes, content_type: str | None, accept: str | None) -> tuple[bytes, str]:
        """One request to the answer's bytes and media type. Raises RequestError, or whatever the model's code does."""
        chosen = self._answer_type(accept)
        if self.transform_fn is not None:
            result = self.transform_fn(self.model, body, content_type, chosen)
        else:
            result = self.output_fn(self.predict_fn(self.input_fn(body, content_type), self.model), chosen)
        if isinstance(result, tuple):  # the toolkits' other convention: (body, content type)
            result, chosen = result
        return (result.encode() if isinstance(result, str) else bytes(result)), chosen

    def _answer_type(self, accept: str | None) -> str:
        """What `output_fn` is asked for: our own knows two media types, a model's own may know any."""
        if self.transform_fn is None and self.output_fn is handler.output_fn:
            return handler.negotiate(accept)
        return JSON if accept in (None, "", "*/*") else str(accept)


def load(directory: Path) -> Program:
    """Imports `code/inference.py` where there is one and loads the model. Raises ModelError."""
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
    try:
        model = model_fn(str(directory))
    except ModelError:
        raise
    except Exception as error:  # the user's code may raise anything; it is reported as the reason
        raise ModelError(f"model_fn failed: {type(error).__name__}: {error}") from error
    return Program(
        model=model,
        input_fn=function("input_fn", 2),
        predict_fn=function("predict_fn", 2),
        output_fn=function("output_fn", 2),
        transform_fn=_with_context(transform, 4, context) if transform else None,
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
