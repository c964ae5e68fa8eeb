"""Pulumi's wire values as plain Python ones, and back: structs, the unknown sentinel, assets.

The provider accepts neither secrets nor outputs (`server.py` says so to the engine), so what arrives here is JSON
plus two markers: a string that stands for "not known before the update", and objects that stand for files.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]

from localcloud.provider.errors import ProviderError

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SIGNATURE = "4dabf18193072939515e22adb298388d"
ASSET = "c44067f5952c0a294b673a41bacd8c17"

Values = dict[str, Any]


def from_struct(struct: struct_pb2.Struct) -> Values:
    """Whole numbers become `int`; nulls are dropped, as an absent property and a null one mean the same."""
    return {
        name: _from_value(value) for name, value in struct.fields.items() if value.WhichOneof("kind") != "null_value"
    }


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if math.isfinite(number) and number == int(number) else number
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    return None


def to_struct(values: Values) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update({name: value for name, value in values.items() if value is not None})
    return struct


def contains_unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def is_asset(value: Any) -> bool:
    return isinstance(value, dict) and value.get(SIGNATURE) == ASSET


def asset_hash(value: Values) -> str:
    """The engine's SHA-256 of the content; it alone tells two assets apart, never where the file lies."""
    return str(value.get("hash", ""))


def asset_file(value: Values) -> Path | bytes:
    """The file to stream, or the bytes of a text asset. Raises ProviderError."""
    if value.get("path"):
        path = Path(value["path"])
        if not path.is_file():
            raise ProviderError(f"source: {path}: no such file (relative to {Path.cwd()})")
        return path
    if "text" in value:
        return str(value["text"]).encode()
    raise ProviderError("source: give a FileAsset or a StringAsset; a remote asset is not fetched locally")
