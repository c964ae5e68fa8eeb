"""The Pulumi schema of what is served, made from the declarations: `pulumi package get-schema` and imports read it."""

from __future__ import annotations

import json
from typing import Any

from localcloud.provider import NAME, VERSION
from localcloud.provider.declarations import Property
from localcloud.provider.functions import FUNCTIONS
from localcloud.provider.resources import RESOURCES

ANYTHING = {"$ref": "pulumi.json#/Any"}
SIMPLE = {"string": "string", "json": "string", "boolean": "boolean", "integer": "integer", "number": "number"}


def schema_text() -> str:
    return json.dumps(
        {
            "name": NAME,
            "version": VERSION,
            "description": "The AWS resources that the local environment serves.",
            "resources": {token: _resource(token) for token in RESOURCES},
            "functions": {token: {"outputs": {"type": "object"}} for token in FUNCTIONS},
        }
    )


def _resource(token: str) -> dict[str, Any]:
    resource = RESOURCES[token]
    inputs = {key: _type(declared) for key, declared in resource.inputs.items()}
    return {
        "inputProperties": inputs,
        "requiredInputs": [key for key, declared in resource.inputs.items() if declared.required],
        "properties": {**inputs, **{key: {"type": "string"} for key in resource.outputs}},
    }


def _type(declared: Property) -> dict[str, Any]:
    if declared.kind in SIMPLE:
        return {"type": SIMPLE[declared.kind]}
    if declared.kind == "asset":
        return {"$ref": "pulumi.json#/Asset"}
    if declared.kind == "map":
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if declared.kind == "list":
        return {"type": "array", "items": ANYTHING if declared.fields else {"type": "string"}}
    return {"type": "object", "additionalProperties": ANYTHING}
