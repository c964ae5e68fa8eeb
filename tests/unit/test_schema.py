"""The generated schema and tables: current, and of one mind with the loader."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from model_build import explain, reference, yaml_tree
from model_build.errors import UserError
from model_build.passes import PASSES
from model_build.schema import spec_schema, text
from model_build.spec import Spec

ROOT = Path(__file__).parents[2]
SPECS = Path(__file__).parent / "specs"


def _invalid(values: Any) -> list[str]:
    validator = Draft202012Validator(spec_schema())
    return sorted(error.json_path for error in validator.iter_errors(values))


def _values(text: str) -> dict[str, Any]:
    tree, _ = yaml_tree.parse(text)  # reads YAML 1.2, as editors do
    assert tree is not None
    values: dict[str, Any] = tree.value
    return values


def test_it_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(spec_schema())


@pytest.mark.parametrize("file", [*sorted((ROOT / "specs").glob("*.yaml")), *sorted((SPECS / "good").glob("*.yaml"))])
def test_an_editor_finds_nothing_wrong_in_a_good_spec(file: Path) -> None:
    assert _invalid(_values(file.read_text())) == []


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("unknown-keys", ["$", "$.gates.size", "$.measure"]),
        ("ranges", ["$.gates.accuracy.max_drop", "$.image.size[1]", "$.image.std[0]", "$.measure.rounds",
                    "$.measure.threads", "$.optimize.candidates"]),
        ("not-one-of", ["$.image.mode", "$.optimize.choose", "$.task"]),
        ("environments", ["$.environments", "$.environments.prod.deploy.environment.THREADS",
                          "$.environments.staging", "$.environments.staging.deploy",
                          "$.environments.staging.deploy.instance"]),
    ],
)  # fmt: skip
def test_an_editor_marks_what_the_loader_refuses(name: str, places: list[str]) -> None:
    assert sorted(set(_invalid(_values((SPECS / "bad" / f"{name}.yaml").read_text())))) == places


@pytest.mark.parametrize("name", PASSES)
def test_an_editor_completes_the_options_of_a_pass(name: str) -> None:
    spec = _values((SPECS / "good" / "image.yaml").read_text())
    defaults = json.loads(PASSES[name].Config().model_dump_json(exclude_none=True))
    assert _invalid(spec | {"optimize": {"candidates": [[name, {name: defaults}]]}}) == []
    assert _invalid(spec | {"optimize": {"candidates": [[{name: {"no_such_option": 1}}]]}}) != []
    assert _invalid(spec | {"optimize": {"candidates": [[f"{name}_"]]}}) != []


def test_the_files_in_the_repository_are_current() -> None:
    assert (ROOT / "specs/spec.schema.json").read_text("utf-8") == text(spec_schema()), "run: slipway schema"
    page = (ROOT / "docs/spec.md").read_text("utf-8")
    assert reference.update(page) == page, "run: slipway schema"


def test_the_tables_name_every_key_and_option() -> None:
    page = (ROOT / "docs/spec.md").read_text("utf-8")
    for shape in (Spec, *(one.Config for one in PASSES.values())):
        for name in shape.model_fields:
            assert f"| `{name}` |" in page


def test_a_page_without_its_markers_is_not_overwritten() -> None:
    with pytest.raises(UserError, match="are missing"):
        reference.update("# The spec\n")


def test_the_example_of_the_page_is_a_valid_spec() -> None:
    page = (ROOT / "docs/spec.md").read_text("utf-8")
    found = re.search(r"```yaml\n(.*?)```", page, re.S)
    assert found is not None
    explain.validate(Spec, _values(found[1]))
