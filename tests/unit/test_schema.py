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
    for path, page in reference.pages(ROOT / "docs").items():
        assert path.read_text("utf-8") == page, f"{path}: run: slipway schema"
    assert reference.orphans(ROOT / "docs") == []


def test_every_key_has_a_page_and_every_option_a_row() -> None:
    made = reference.pages(ROOT / "docs")
    index = made[ROOT / "docs/spec.md"]
    for name in Spec.model_fields:
        assert f"[`{name}`](spec/{name}.md)" in index
        assert ROOT / f"docs/spec/{name}.md" in made
    passes = made[ROOT / "docs/passes.md"]
    for name, one in PASSES.items():
        section = passes.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
        assert all(f"| `{option}` |" in section for option in one.Config.model_fields)
    assert "| `isolation` |" in made[ROOT / "docs/spec/deploy.md"].partition("## `deploy.network`")[2]


def test_a_new_key_gets_a_page_and_a_key_that_is_gone_leaves_one_to_delete(tmp_path: Path) -> None:
    (tmp_path / "spec").mkdir()
    (tmp_path / "spec/old.md").write_text("# `old`\n")
    made = reference.pages(tmp_path)
    assert made[tmp_path / "spec/name.md"].startswith("# `name`\n")
    assert reference.orphans(tmp_path) == [tmp_path / "spec/old.md"]


def test_what_people_wrote_around_the_markers_stays(tmp_path: Path) -> None:
    (tmp_path / "spec").mkdir()
    page = tmp_path / "spec/name.md"
    page.write_text(f"before\n{reference.BEGIN}\nold\n{reference.END}\nafter\n")
    made = reference.pages(tmp_path)[page]
    assert made.startswith("before\n") and made.endswith("after\n") and "\nold\n" not in made
    page.write_text("# `name`\n")
    with pytest.raises(UserError, match="are missing"):
        reference.pages(tmp_path)


def _examples() -> list[tuple[str, str]]:
    pages = sorted((ROOT / "docs/spec").glob("*.md"))
    return [(path.stem, block) for path in pages for block in re.findall(r"```yaml\n(.*?)```", path.read_text(), re.S)]


@pytest.mark.parametrize(("key", "example"), _examples())
def test_an_example_of_a_key_is_part_of_a_valid_spec(key: str, example: str) -> None:
    values = _values(example)
    assert key in values
    rest = _values((SPECS / "good" / f"{key if key in ('text', 'image', 'audio') else 'tensor'}.yaml").read_text())
    task = values.get("task", rest["task"]).partition("-")[0]
    if task != "tensor":
        rest = _values((SPECS / "good" / f"{task}.yaml").read_text())
    if values.get("source", {}).get("pytorch"):
        rest.pop("optimize")
    explain.validate(Spec, rest | values)


def test_the_example_of_the_page_is_a_valid_spec() -> None:
    page = (ROOT / "docs/spec.md").read_text("utf-8")
    found = re.search(r"```yaml\n(.*?)```", page, re.S)
    assert found is not None
    explain.validate(Spec, _values(found[1]))
