"""`Check`: from what the program gave to complete inputs, or everything that is wrong with it, at once.

Upstream's rules: an unknown property is refused, defaults are filled in, a missing name is the old one or a new
one from the engine's seed. `__defaults` lists the names that were not the program's, which decides later whether a
replacement may be created before the old resource is deleted.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

from localcloud.provider.declarations import Autoname, Property, Resource
from localcloud.provider.values import UNKNOWN, Values, contains_unknown, is_asset

DEFAULTS = "__defaults"
RANDOM_DIGITS = 7

Failure = tuple[str, str]

_PYTHON: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "map": dict,
    "list": list,
    "object": dict,
    "json": (str, dict),
    "asset": dict,
}


def check(
    resource: Resource, name: str, olds: Values, news: Values, seed: bytes, region: str
) -> tuple[Values, list[Failure]]:
    """`name` is the logical name. Returns (inputs, failures); inputs are to be used only when nothing failed."""
    given = {key: value for key, value in news.items() if not key.startswith("__")}
    failures = list(_unknown_names(resource.label, resource.inputs, resource.rejected, given, ""))
    inputs: Values = {}
    defaults: list[str] = []
    for key, declared in resource.inputs.items():
        if given.get(key) is not None:
            inputs[key] = _complete(declared, given[key])
        elif declared.default is not None:
            inputs[key] = declared.default
            defaults.append(key)
        if key in inputs:
            failures += _problems(resource.label, declared, inputs[key], key)
    if resource.autoname:
        failures += _fill_name(resource.autoname, name, olds, inputs, defaults, seed)
    failures += [
        (key, f"{key}: is required by {resource.label} and was not given")
        for key, declared in resource.inputs.items()
        if declared.required and key not in inputs
    ]
    if inputs.get("region", region) not in (region, UNKNOWN):
        failures.append(("region", f"region: is '{inputs['region']}', but this provider's region is '{region}'"))
    if not failures:
        failures += resource.validate(inputs)
    inputs[DEFAULTS] = sorted(defaults)
    return inputs, failures


def _unknown_names(
    label: str, declared: Any, rejected: tuple[str, ...], given: Values, prefix: str
) -> Iterator[Failure]:
    for key in given:
        if key in declared or given[key] is None:
            continue
        known = ", ".join(sorted(declared))
        reason = "is not implemented by the local provider" if key in rejected else "is not a property of it"
        yield prefix + key, f"{prefix}{key}: {reason} ({label}); supported: {known}"


def _complete(declared: Property, value: Any) -> Any:
    """Nested defaults filled in, nulls dropped, a policy given as an object turned into text."""
    if value == UNKNOWN:
        return value
    if declared.kind == "json" and isinstance(value, dict):
        return UNKNOWN if contains_unknown(value) else json.dumps(value)
    if declared.kind == "object" and isinstance(value, dict):
        return _complete_fields(declared, value)
    if declared.kind == "list" and declared.fields and isinstance(value, list):
        return [_complete_fields(declared, item) if isinstance(item, dict) else item for item in value]
    return value


def _complete_fields(declared: Property, value: Values) -> Values:
    result = {
        key: _complete(declared.fields[key], item) if key in declared.fields else item
        for key, item in value.items()
        if item is not None and not key.startswith("__")
    }
    for key, inner in declared.fields.items():
        if inner.default is not None and key not in result:
            result[key] = inner.default
    return result


def _problems(label: str, declared: Property, value: Any, path: str) -> Iterator[Failure]:
    if value == UNKNOWN:
        return
    expected = _PYTHON[declared.kind]
    wrong_boolean = isinstance(value, bool) and declared.kind in ("integer", "number")
    if not isinstance(value, expected) or wrong_boolean:
        yield path, f"{path}: must be a {declared.kind}, is {value!r} ({label})"
        return
    if declared.choices and value not in declared.choices:
        yield path, f"{path}: is '{value}'; implemented locally: {', '.join(declared.choices)} ({label})"
    if declared.kind == "asset" and not is_asset(value):
        yield path, f"{path}: must be an asset (one file or one text), not an archive ({label})"
    if declared.kind == "json" and isinstance(value, str):
        try:
            json.loads(value)
        except ValueError as error:
            yield path, f"{path}: is not JSON: {error} ({label})"
    if declared.kind == "map":
        for key, item in value.items():
            if not isinstance(item, str):
                yield f"{path}.{key}", f"{path}.{key}: must be a string, is {item!r} ({label})"
    if declared.kind == "object":
        yield from _field_problems(label, declared, value, path + ".")
    if declared.single and len(value) > 1:
        yield path, f"{path}: takes one object, has {len(value)} ({label})"
    if declared.kind == "list":
        for index, item in enumerate(value):
            where = f"{path}[{index}]"
            if declared.fields and isinstance(item, dict):
                yield from _field_problems(label, declared, item, where + ".")
            elif item != UNKNOWN and not isinstance(item, dict if declared.fields else str):
                yield where, f"{where}: must be {'an object' if declared.fields else 'a string'}, is {item!r} ({label})"


def _field_problems(label: str, declared: Property, value: Values, prefix: str) -> Iterator[Failure]:
    yield from _unknown_names(label, declared.fields, declared.rejected, value, prefix)
    for key, inner in declared.fields.items():
        if key in value:
            yield from _problems(label, inner, value[key], prefix + key)
        elif inner.required:
            yield prefix + key, f"{prefix}{key}: is required by {label} and was not given"


def _fill_name(
    autoname: Autoname, logical: str, olds: Values, inputs: Values, defaults: list[str], seed: bytes
) -> list[Failure]:
    key = autoname.property
    if key in inputs or (autoname.prefix_property and autoname.prefix_property in inputs):
        return []
    was_ours = DEFAULTS not in olds or key in olds[DEFAULTS]
    if was_ours and isinstance(olds.get(key), str):
        inputs[key] = olds[key]
    else:
        base = logical.lower() if autoname.lower_case else logical
        inputs[key] = autoname.before + (f"{base}-{_digits(seed, base)}" if autoname.random else base)
    defaults.append(key)
    if len(inputs[key]) > autoname.longest:
        return [(key, f"{key}: '{inputs[key]}' is longer than {autoname.longest} characters; give a shorter {key}")]
    return []


def _digits(seed: bytes, name: str) -> str:
    """The same for the same seed, so that a preview and the update that follows agree."""
    return hashlib.sha256(seed + name.encode()).hexdigest()[:RANDOM_DIGITS] if seed else secrets.token_hex(4)[:7]
