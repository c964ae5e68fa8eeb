"""AWS's JSON 1.1 protocol: which operation a request names, and its input checked against botocore's own service model.

Apart from the operations so that none of them checks types, lengths, patterns or unknown members by hand.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from localcloud.asgi import Request
from localcloud.errors import AwsError, UnsupportedError, ValidationException

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "blob": (str,),
}


@cache
def service_model(service: str) -> Any:
    """botocore's `ServiceModel` of a service."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def operation_name(request: Request, service: str) -> str:
    """The operation that `X-Amz-Target` names. Raises AwsError for none, or one that the service does not have."""
    prefix, _, operation = request.header("x-amz-target").rpartition(".")
    model = service_model(service)
    if prefix != model.metadata["targetPrefix"] or operation not in model.operation_names:
        target = request.header("x-amz-target") or "(none)"
        raise AwsError("UnknownOperationException", f"{model.service_id} has no operation for target {target}.")
    return operation


def parse_input(request: Request, service: str, operation: str) -> dict[str, Any]:
    """The request's input, valid in every constraint of the service model. Raises AwsError naming all that is wrong."""
    try:
        content = json.loads(request.body or b"{}")
    except ValueError:
        raise AwsError("SerializationException", "The request's body is not JSON.") from None
    shape = service_model(service).operation_model(operation).input_shape
    if not isinstance(content, dict):
        raise AwsError("SerializationException", "The request's body is not a JSON object.")
    content = _without_nulls(content)
    problems = list(_problems(content, shape, "")) if shape is not None else []
    if problems:
        count = "1 validation error" if len(problems) == 1 else f"{len(problems)} validation errors"
        raise ValidationException(f"{count} detected: {'; '.join(problems)}")
    result: dict[str, Any] = content
    return result


def unsupported_operation(service: str, operation: str, supported: list[str]) -> UnsupportedError:
    name = service_model(service).service_id
    return UnsupportedError(
        f"The local AWS does not emulate {name} {operation}. It has: {', '.join(sorted(supported))}.", 501
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(member) for member in value]
    return value


def _member_path(path: str, name: str) -> str:
    # AWS names members in lower camel case in these messages.
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _has_type(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _JSON_TYPES.get(kind, object))


def _problems(value: Any, shape: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if not _has_type(value, kind):
        where = f"at '{path}'" if path else "of the request"
        yield f"Value {json.dumps(value)} {where} failed to satisfy constraint: Member must be of type {kind}"
        return
    if kind == "structure":
        yield from _structure_problems(value, shape, path)
    elif kind == "list":
        yield from _size_problems(len(value), "length", value, shape, path)
        for index, member in enumerate(value, start=1):
            yield from _problems(member, shape.member, f"{path}.{index}.member")
    elif kind == "map":
        yield from _size_problems(len(value), "length", value, shape, path)
        for key, member in value.items():
            yield from _problems(key, shape.key, f"{path}.key")
            yield from _problems(member, shape.value, f"{path}.{key}.member")
    elif kind == "string":
        yield from _string_problems(value, shape, path)
    elif kind in ("integer", "long", "float", "double"):
        yield from _size_problems(value, "value", value, shape, path)


def _structure_problems(value: dict[str, Any], shape: Any, path: str) -> Iterator[str]:
    for name in shape.required_members:
        if name not in value:
            member = _member_path(path, name)
            yield f"Value null at '{member}' failed to satisfy constraint: Member must not be null"
    for name, member_value in value.items():
        member = _member_path(path, name)
        if name not in shape.members:
            yield f"Unknown member '{member}'; known: {', '.join(shape.members)}"
        else:
            yield from _problems(member_value, shape.members[name], member)


def _string_problems(value: str, shape: Any, path: str) -> Iterator[str]:
    failed = f"Value '{value}' at '{path}' failed to satisfy constraint"
    yield from _size_problems(len(value), "length", value, shape, path)
    if shape.enum and value not in shape.enum:
        yield f"{failed}: Member must satisfy enum value set: [{_shown_values(value, shape.enum)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, value):
        yield f"{failed}: Member must satisfy regular expression pattern: {pattern}"


def _shown_values(value: str, known: list[str]) -> str:
    if len(known) <= 20:
        return ", ".join(known)
    closest = difflib.get_close_matches(value, known, n=5)
    return ", ".join([*closest, f"… {len(known)} in all"])


def _matches(pattern: str, value: str) -> bool:
    compiled = _compile(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


@cache
def _compile(pattern: str) -> re.Pattern[str] | None:
    # The patterns are Java's; the few character classes that Python lacks are those of `\p{…}`.
    try:
        return re.compile(pattern.replace(r"\p{ASCII}", r"[\x00-\x7f]"))
    except re.error:
        return None


def _size_problems(size: float, measure: str, value: Any, shape: Any, path: str) -> Iterator[str]:
    shown = f"'{value}'" if isinstance(value, str) else json.dumps(value)
    failed = f"Value {shown} at '{path}' failed to satisfy constraint: Member must have {measure}"
    if "min" in shape.metadata and size < shape.metadata["min"]:
        yield f"{failed} greater than or equal to {shape.metadata['min']}"
    if "max" in shape.metadata and size > shape.metadata["max"]:
        yield f"{failed} less than or equal to {shape.metadata['max']}"
