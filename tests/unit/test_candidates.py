"""Candidates as one tree of keys."""

from __future__ import annotations

from typing import Any

import pytest

from model_build import candidates
from model_build.passes.base import InstructionSet
from model_build.spec import Optimize

ARGUMENTS: dict[str, Any] = {
    "source_key": "s",
    "preprocessing_key": "p",
    "calibration_key": "c",
    "training_key": "t",
    "option_inputs": lambda step: None,
    "instruction_set": InstructionSet("some", vnni=True),
    "versions": {"onnxruntime": "1"},
}


def plan(*given: Any, **changes: Any) -> list[candidates.Candidate]:
    return candidates.plan(Optimize.model_validate({"candidates": given}), **(ARGUMENTS | changes))


def test_shared_beginnings_are_one_node_and_what_differs_is_another() -> None:
    one, two, three = plan(
        ["export_onnx", "quantize_static"],
        ["export_onnx", {"quantize_static": {"method": "entropy"}}],
        [{"export_onnx": {"opset": 20}}, "quantize_static"],
    )
    assert one.steps[0].key == two.steps[0].key != three.steps[0].key
    assert len({candidate.steps[1].key for candidate in (one, two, three)}) == 3


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"source_key": "other"}, ["export_onnx", "quantize_dynamic", "quantize_static"]),
        ({"preprocessing_key": "other"}, ["export_onnx", "quantize_dynamic", "quantize_static"]),
        ({"versions": {"onnxruntime": "2"}}, ["export_onnx", "quantize_dynamic", "quantize_static"]),
        ({"calibration_key": "other"}, ["quantize_static"]),
        ({"instruction_set": InstructionSet("other", vnni=False)}, ["quantize_dynamic", "quantize_static"]),
        ({"instruction_set": InstructionSet("other", vnni=True)}, []),
    ],
)
def test_a_node_is_made_anew_only_where_something_that_it_depends_on_changed(
    changes: dict[str, Any], changed: list[str]
) -> None:
    given = (["export_onnx", "quantize_dynamic"], ["export_onnx", "quantize_static"])

    def keys(planned: list[candidates.Candidate]) -> dict[str, str]:
        return {step.name: step.key for candidate in planned for step in candidate.steps}

    before, after = keys(plan(*given)), keys(plan(*given, **changes))
    assert sorted(name for name in before if before[name] != after[name]) == changed


def test_an_option_that_the_spec_leaves_open_is_decided_by_the_target_and_one_that_it_gives_is_kept() -> None:
    without = InstructionSet("some", vnni=False)
    (open_one,) = plan(["quantize_dynamic"], instruction_set=without)
    (given,) = plan([{"quantize_dynamic": {"reduce_range": False}}], instruction_set=without)
    assert open_one.steps[0].config.model_dump()["reduce_range"] is True
    assert given.steps[0].config.model_dump()["reduce_range"] is False


def test_the_label_shows_the_options_that_the_spec_gives() -> None:
    options = {"ops": ["linear", "embedding"], "per_channel": False}
    (candidate,) = plan(["export_onnx", {"quantize_dynamic": options}])
    assert candidate.label == "export_onnx → quantize_dynamic(ops=linear+embedding, per_channel=false)"
    assert plan([])[0].label == "as it is"


def test_a_step_that_trains_is_made_anew_where_its_data_changed_and_one_without_epochs_is_not() -> None:
    given = ([{"prune_channels": {}}], [{"prune_channels": {"epochs": 0}}], ["export_onnx"])
    keys, others = (
        [candidate.steps[0].key for candidate in plan(*given, training_key=key)] for key in ("one", "other")
    )
    assert [one == other for one, other in zip(keys, others, strict=True)] == [False, True, True]


def test_a_changed_file_among_a_steps_options_is_another_node() -> None:
    student = {"factory": "pupils.student:small", "weights": "student.safetensors"}
    keys = {
        plan([{"distill": {"student": student, "epochs": 0}}], option_inputs=lambda step, at=at: at)[0].steps[0].key
        for at in ("one", "other")
    }
    assert len(keys) == 2


def test_a_factory_among_the_options_is_named_by_its_function_alone() -> None:
    (candidate,) = plan([{"distill": {"student": {"factory": "pupils.student:small"}, "epochs": 0}}])
    assert candidate.label == "distill(student=pupils.student:small, epochs=0)"
