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
    if declared.kind == "object":
        return from_api(declared.fields, value)
    if declared.kind == "list" and declared.fields:
        return [from_api(declared.fields, item) for item in value]
    return value


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}
