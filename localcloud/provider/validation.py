"""Every call to AWS held against botocore's own model of it: enumerations, patterns and upper limits as well.

botocore itself checks types, required and unknown members and lower limits, and leaves the rest to the service; the
local services are more lenient than AWS, so it is done here, before a request leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.exceptions import ParamValidationError


def hold_to_the_model(session: Any) -> None:
    """Makes every client of a botocore session raise ParamValidationError, naming all that AWS would refuse."""
    session.register("before-parameter-build", _check)


def _check(params: dict[str, Any], model: Any, **_more: Any) -> None:
    problems = list(problems_of(params, model.input_shape, "")) if model.input_shape is not None else []
    if problems:
        raise ParamValidationError(report=f"{model.name}: {'; '.join(problems)}")


def problems_of(value: Any, shape: Any, path: str) -> Iterator[str]:
    """What botocore lets pass of a value that it finds right in its types."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        for name, member in value.items():
            if name in shape.members:
                yield from problems_of(member, shape.members[name], f"{path}.{name}" if path else name)
    elif kind == "list" and isinstance(value, list | tuple):
        yield from _limits(len(value), shape, path, "members")
        for index, member in enumerate(value):
            yield from problems_of(member, shape.member, f"{path}[{index}]")
    elif kind == "map" and isinstance(value, dict):
        yield from _limits(len(value), shape, path, "members")
        for key, member in value.items():
            yield from problems_of(key, shape.key, f"{path} (key)")
            yield from problems_of(member, shape.value, f"{path}.{key}")
    elif kind == "string" and isinstance(value, str):
        yield from _limits(len(value), shape, path, "characters")
        if shape.enum and value not in shape.enum:
            yield f"{path} is '{value}'; AWS knows {_shown(shape.enum)}"
        pattern = shape.metadata.get("pattern")
        compiled = _compiled(pattern) if pattern else None
        if compiled is not None and not compiled.fullmatch(value):
            yield f"{path} is '{value}', which does not match {pattern}"
    elif kind in ("integer", "long", "float", "double") and isinstance(value, int | float):
        yield from _limits(value, shape, path, "")


def _limits(size: float, shape: Any, path: str, unit: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and size > most:
        yield f"{path} is {size:g} {unit}".rstrip() + f", more than {most}"


def _shown(known: list[str]) -> str:
    return ", ".join(known) if len(known) <= 20 else f"{len(known)} others"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """None for what Python cannot compile: the patterns are Java's."""
    try:
        return re.compile(pattern.replace(r"\p{ASCII}", r"[\x00-\x7f]"))
    except re.error:
        return None
