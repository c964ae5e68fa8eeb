"""The spec's shape: overlays, steps, and that every key explains itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

import serving.config
import serving.tasks
from model_build import explain, metrics, rules
from model_build.deployment import Deploy, seconds
from model_build.passes import PASSES
from model_build.schema import spec_schema, summary
from model_build.spec import CONTENT_TYPES, SECTIONS, Optimize, PytorchSource, Spec, Step, merged

SPEC: dict[str, Any] = {
    "name": "x",
    "task": "tensor",
    "tensor": {"inputs": {"x": {"shape": [4]}}},
    "source": {"onnx": {"path": "model.onnx"}},
}


def test_an_overlay_replaces_keys_and_merges_mappings() -> None:
    spec = Spec.model_validate(
        SPEC
        | {
            "deploy": {"instances": {"min": 1, "max": 4}, "environment": {"A": "1", "B": "2"}},
            "environments": {
                "prod": {"deploy": {"instance": "ml.c7i.xlarge", "instances": {"min": 2}, "environment": {"B": "3"}}}
            },
        }
    )
    prod = spec.deployment("prod")
    assert (prod.instance, prod.instances.min, prod.instances.max) == ("ml.c7i.xlarge", 2, 4)
    assert prod.environment == {"A": "1", "B": "3"}
    assert spec.deployment("dev") == spec.deploy
    assert spec.deployments() == {"prod": prod}
    assert spec.deploy.environment == {"A": "1", "B": "2"}


def test_an_overlay_that_gives_no_valid_deploy_is_refused() -> None:
    spec = Spec.model_validate(SPEC | {"environments": {"prod": {"deploy": {"instances": {"min": 2}}}}})
    with pytest.raises(ValidationError, match="must be at least min"):
        spec.deployment("prod")


def test_merging_changes_neither_side() -> None:
    base, overlay = {"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": [2]}
    assert merged(base, overlay) == {"a": {"b": 1, "d": 2}, "c": [2]}
    assert (base, overlay) == ({"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": [2]})


def test_a_step_is_a_name_or_a_name_with_options() -> None:
    candidates = Optimize.model_validate({"candidates": [["a", {"b": None}, {"c": {"d": 1}}]]}).candidates
    assert candidates == ((Step(name="a"), Step(name="b"), Step(name="c", options={"d": 1})),)


def test_weights_are_one_file_or_one_for_each_submodule() -> None:
    assert PytorchSource(factory="a:b", weights="w.safetensors").weights == "w.safetensors"
    assert PytorchSource(factory="a:b", weights={"head": "w.safetensors"}).weights == {"head": "w.safetensors"}


def test_a_spec_cannot_be_changed() -> None:
    spec = Spec.model_validate(SPEC)
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "y"  # type: ignore[misc]


def _properties(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        for key, value in node.get("properties", {}).items():
            yield key, value
        for value in node.values():
            yield from _properties(value)


def test_every_key_and_option_has_a_description() -> None:
    schema = spec_schema()
    bare = {key for key, value in _properties(schema) if "description" not in value and "$ref" not in value}
    assert bare == set()


def test_every_pattern_has_words_for_people() -> None:
    def has_pattern(node: dict[str, Any]) -> bool:
        return "pattern" in node or "patternProperties" in node or ("items" in node and has_pattern(node["items"]))

    assert {key for key, value in _properties(spec_schema()) if has_pattern(value)} == set(explain.PATTERNS)


def test_every_task_has_a_section_samples_and_a_handler_that_decodes_them() -> None:
    for task, sections in SECTIONS.items():
        assert set(sections) <= set(Spec.model_fields)
        assert tuple(serving.config.SECTIONS[task]) == sections
        assert set(metrics.OF_TASK[task]) <= {metrics.ACCURACY, *metrics.METRICS}
        accepted = serving.tasks.TASKS[task].CONTENT_TYPES
        assert {CONTENT_TYPES[ending] for ending in rules.SAMPLES[task]} <= set(accepted)
    assert set(SECTIONS) == set(rules.SAMPLES) == set(serving.tasks.TASKS)


def test_every_pass_keeps_the_contract() -> None:
    for name, one in PASSES.items():
        assert one.__name__ == f"model_build.passes.{name}"
        assert one.Config().model_config.get("frozen") and one.Config().model_config.get("extra") == "forbid"
        assert isinstance(one.VERSION, int) and isinstance(one.NEEDS_CALIBRATION, bool) and callable(one.run)
        assert one.ACCEPTS.issubset({"pytorch", "onnx"}) and one.PRODUCES in {"pytorch", "onnx", "litert"}
        assert summary(one).endswith("."), f"{name}: the docstring's first line is its documentation"


def test_every_key_of_deploy_has_a_default_so_that_an_overlay_completes_like_it() -> None:
    assert Deploy() is not None
    definitions = spec_schema()["$defs"]
    assert all("required" not in definitions[name] for name in ("Deploy", "InstanceRange", "Autoscaling"))


def test_auto_is_a_word_or_keys_and_candidates_stay_explicit() -> None:
    word, keys = (
        explain.validate(
            Spec, {"name": "m", "task": "tensor", "source": {"onnx": {"path": "m.onnx"}}, "optimize": given}
        )
        for given in ("auto", {"auto": True, "budget": "90s", "candidates": [[], ["quantize_dynamic"]]})
    )
    assert word.optimize == Optimize(auto=True)
    assert (keys.optimize.auto, seconds(keys.optimize.budget)) == (True, 90)
    assert [[step.name for step in one] for one in keys.optimize.candidates] == [[], ["quantize_dynamic"]]
    assert [seconds(one) for one in ("10m", "2h")] == [600, 7200]
