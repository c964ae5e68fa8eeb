"""Which operations of AWS a resource type calls, read from its functions: the page on fidelity can forget none."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from localcloud.provider.declarations import Resource

OURS = "localcloud.provider."


def operations_of(resource: Resource) -> list[str]:
    """The API's names (`PutMetricAlarm`), in alphabetical order."""
    known = _methods(resource.service)
    functions = (resource.create, resource.read, resource.update, resource.delete, resource.trouble)
    names = {name for function in functions for name in _words(function, set())}
    return sorted({known[name] for name in names if name in known})


@cache
def _methods(service: str) -> dict[str, str]:
    """boto3's method → operation."""
    from botocore import xform_name
    from botocore.loaders import Loader

    return {xform_name(name): name for name in Loader().load_service_model(service, "service-2")["operations"]}


def _words(function: Callable[..., Any], seen: set[Any]) -> Iterator[str]:
    """Attributes and texts in a function, and in those of ours that it names or holds."""
    if function in seen or not isinstance(function, types.FunctionType):
        return
    seen.add(function)
    for code in _codes(function.__code__):
        yield from code.co_names
        yield from (constant for constant in code.co_consts if isinstance(constant, str))
        for name in code.co_names:
            other = function.__globals__.get(name)
            if getattr(other, "__module__", "").startswith(OURS) and isinstance(other, types.FunctionType):
                yield from _words(other, seen)
    for cell in function.__closure__ or ():
        yield from _words(cell.cell_contents, seen)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code, and that of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
