"""What is declared is exactly what the real SDK has: each of its inputs is either implemented or refused by name."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import typing
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from pulumi._types import input_type_types

from localcloud.provider import fidelity, schema
from localcloud.provider.declarations import Property
from localcloud.provider.resources import RESOURCES


def sdk_class(token: str) -> Any:
    module, name = re.fullmatch(r"aws:(\w+)/\w+:(\w+)", token).groups()
    with warnings.catch_warnings():
        # Merely importing the SDK's S3 module warns of its deprecated classes.
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(importlib.import_module(f"pulumi_aws.{module}"), name)


def sdk_inputs(cls: Any) -> dict[str, Any]:
    """The resource's own arguments: camel-case name → type."""
    module = inspect.getmodule(cls)
    # `InitArgs` where the plain name is a nested type's of another resource.
    args = getattr(module, f"{cls.__name__}InitArgs", None) or getattr(module, f"{cls.__name__}Args")
    return input_type_types(args)


def nested(kind: Any) -> Any:
    """The SDK's class of an object, or of a list's objects; None for plain values."""
    if inspect.isclass(kind):
        return kind if hasattr(kind, "_pulumi_input_type") or kind.__name__.endswith("Args") else None
    for argument in typing.get_args(kind):
        found = nested(argument)
        if found is not None:
            return found
    return None


def mismatches(path: str, declared: Property, kind: Any) -> Iterator[str]:
    if declared.kind not in ("object", "list") or not declared.fields:
        return
    upstream = input_type_types(nested(kind))
    if {*declared.fields, *declared.rejected} != set(upstream):
        yield f"{path}: {sorted({*declared.fields, *declared.rejected} ^ set(upstream))}"
    for key, field in declared.fields.items():
        yield from mismatches(f"{path}.{key}", field, upstream[key])


@pytest.mark.parametrize("token", RESOURCES)
def test_every_input_of_the_sdk_is_implemented_or_refused(token: str):
    resource, upstream = RESOURCES[token], sdk_inputs(sdk_class(token))
    assert not set(resource.inputs) & set(resource.rejected)
    assert {*resource.inputs, *resource.rejected} == set(upstream)
    problems = [line for key, one in resource.inputs.items() for line in mismatches(key, one, upstream[key])]
    assert problems == []


@pytest.mark.parametrize("token", RESOURCES)
def test_the_token_is_the_one_that_the_sdk_registers(token: str):
    cls = sdk_class(token)
    assert f"'{token}'" in inspect.getsource(cls)


@pytest.mark.parametrize("token", RESOURCES)
def test_every_output_is_one_that_the_sdk_reads(token: str):
    cls = sdk_class(token)
    readable = {
        getattr(value.fget, "_pulumi_name", name)
        for name, value in inspect.getmembers(cls, lambda member: isinstance(member, property))
    }
    assert set(RESOURCES[token].outputs) <= readable


def test_the_page_on_fidelity_is_current():
    assert fidelity.main(["--check"]) == 0, "run: python -m localcloud.provider.fidelity"


def test_a_page_that_is_not_current_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fidelity, "PAGE", tmp_path / "provider-fidelity.md")
    assert fidelity.main(["--check"]) == 1
    assert "run: python -m localcloud.provider.fidelity" in capsys.readouterr().err
    assert fidelity.main([]) == 0
    assert fidelity.main(["--check"]) == 0


def test_the_schema_names_what_is_served():
    described = json.loads(schema.schema_text())
    assert set(described["resources"]) == set(RESOURCES)
    assert described["resources"]["aws:s3/bucketPolicy:BucketPolicy"]["requiredInputs"] == ["bucket", "policy"]
