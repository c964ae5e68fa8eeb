"""The JSON schema of a spec, which editors complete and check with: made from the models and the passes' options.

Apart from `spec` because passes bring their options in here, and a spec's shape knows no pass.
"""

from __future__ import annotations

import json
from typing import Any

from model_build.passes import PASSES
from model_build.passes.base import Pass
from model_build.spec import Spec

Schema = dict[str, Any]


def spec_schema() -> Schema:
    """The whole schema: a spec's keys, the passes with their options, and overlays that complete like `deploy`."""
    schema = Spec.model_json_schema()
    definitions = schema["$defs"]
    for name, one in PASSES.items():
        options = one.Config.model_json_schema()
        definitions |= options.pop("$defs", {})
        definitions[name] = options | {"description": summary(one)}
    definitions["Step"] = _step()
    # In pydantic's words a pass is an object; in a file it is its name.
    definitions["Optimize"]["properties"]["candidates"]["default"] = [["export_onnx"]]
    overlay = definitions["Environment"]["properties"]["deploy"]
    overlay.pop("additionalProperties")
    overlay |= {"$ref": "#/$defs/Deploy"}
    head: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Slipway spec"}
    return {**head, **_plain(schema)}


def text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def summary(one: Pass) -> str:
    """The first line of a pass's docstring, which is its documentation."""
    return (one.__doc__ or "").strip().partition("\n")[0]


def _step() -> Schema:
    with_options = {
        "type": "object",
        "properties": {name: {"$ref": f"#/$defs/{name}"} for name in PASSES},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"description": "A pass, alone or with options.", "anyOf": [{"enum": list(PASSES)}, with_options]}


def _plain(schema: Any) -> Any:
    """Without what only pydantic needs: titles made from names, and `null` beside keys that may be left out.

    A word in place of keys is no union, of which an editor can only say that no branch fits: so it marks the very key.
    """
    if isinstance(schema, list):
        return [_plain(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    result: Schema = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "patternProperties"):
            result[key] = {name: _plain(inner) for name, inner in value.items()}
        elif key == "title" or (key == "default" and value is None):
            continue
        else:
            result[key] = value if key in ("default", "enum", "const", "examples") else _plain(value)
    words, *others = result.get("oneOf", [{}])
    if len(others) == 1 and ("enum" in words or "const" in words):
        del result["oneOf"]
        result |= {
            "if": {"type": "string"},
            "then": {"enum": words.get("enum", [words.get("const")])},
            "else": others[0],
        }
    if {"type": "null"} in result.get("anyOf", []):
        branches = [branch for branch in result["anyOf"] if branch != {"type": "null"}]
        if len(branches) == 1:
            result = branches[0] | {key: value for key, value in result.items() if key != "anyOf"}
        else:
            result["anyOf"] = branches
    if "patternProperties" in result:
        result.setdefault("additionalProperties", False)
    return result
