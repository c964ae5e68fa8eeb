"""Inputs as the AWS API wants them and back: `modelDataUrl` ⇄ `ModelDataUrl`, recursively over the declared fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.provider.declarations import Property
from localcloud.provider.values import Values


def api_name(key: str, declared: Property) -> str:
    return declared.aws or key[0].upper() + key[1:]


def to_api(fields: Mapping[str, Property], values: Values) -> dict[str, Any]:
    """Only the declared fields that have a value."""
    return {
        api_name(key, declared): _to_api(declared, values[key])
        for key, declared in fields.items()
        if values.get(key) is not None
    }


def _to_api(declared: Property, value: Any) -> Any:
    if declared.encode is not None:
        return declared.encode(value)
    if declared.single:
        return to_api(declared.fields, value[0])
    if declared.kind == "object":
        return to_api(declared.fields, value)
    if declared.kind == "list" and declared.fields:
        return [to_api(declared.fields, item) for item in value]
    return value


def from_api(fields: Mapping[str, Property], answer: Mapping[str, Any]) -> Values:
    return {
        key: _from_api(declared, answer[api_name(key, declared)])
        for key, declared in fields.items()
        if answer.get(api_name(key, declared)) is not None
    }


def _from_api(declared: Property, value: Any) -> Any:
    if declared.decode is not None:
        return declared.decode(value)
    if declared.single:
        return [from_api(declared.fields, value)]
    if declared.kind == "object":
        return from_api(declared.fields, value)
    if declared.kind == "list" and declared.fields:
        return [from_api(declared.fields, item) for item in value]
    return value


def name_list(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    """Dimensions of a metric: a list in the API, a mapping in a program."""
    return [{"Name": name, "Value": value} for name, value in pairs.items()]


def name_map(pairs: list[dict[str, str]]) -> dict[str, str]:
    return {pair["Name"]: pair["Value"] for pair in pairs}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def tag_changes(live: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """(keys to take away, tags to set) that make `wanted` of `live`."""
    return sorted(live.keys() - wanted.keys()), {key: one for key, one in wanted.items() if live.get(key) != one}
