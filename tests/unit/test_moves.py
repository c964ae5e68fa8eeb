"""The moves of a search: what may be added to a candidate, where, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_models
import pytest

from model_build import moves
from model_build.explain import validate
from model_build.moves import MOVES, Trait
from model_build.passes import PASSES
from model_build.spec import Step

EVERYTHING: frozenset[Trait] = frozenset({"linear", "conv", "embedding", "attention"})


def grown(
    *names: str, source: str = "pytorch", traits: frozenset[Trait] = EVERYTHING, **data: bool
) -> list[tuple[tuple[str, object], ...]]:
    steps = tuple(Step(name=name) for name in names)
    found = moves.grown(steps, source, traits, **({"calibration": True, "training": True} | data))  # type: ignore[arg-type]
    return [tuple((step.name, step.options) for step in one) for one in found]


def names(found: list[tuple[tuple[str, object], ...]]) -> list[tuple[str, ...]]:
    return [tuple(name for name, _ in one) for one in found]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: f"{move.group}-{move.steps[0][0]}")
def test_every_move_is_a_pass_with_options_that_it_takes(move: moves.Move) -> None:
    for name, options in move.steps:
        validate(PASSES[name].Config, options)


def test_passes_for_onnx_come_last_and_those_for_pytorch_before_the_export() -> None:
    found = names(grown("export_onnx", "quantize_dynamic"))
    assert ("export_onnx", "quantize_dynamic", "optimize_graph") in found
    assert ("prune_channels", "export_onnx", "quantize_dynamic") in found


def test_a_candidate_gets_no_second_pass_of_a_kind() -> None:
    found = names(grown("export_onnx", "quantize_static"))
    assert not [one for one in found if "quantize_dynamic" in one or one.count("quantize_static") > 1]


def test_what_helped_is_tried_more_strongly_and_not_weaker_again() -> None:
    first = tuple(
        Step(name=name, options=options) for name, options in (("prune_channels", {"ratio": 0.25}), ("export_onnx", {}))
    )
    found = list(moves.grown(first, "pytorch", frozenset({"conv"}), calibration=False, training=True))
    pruned = [step.options for one in found for step in one if step.name == "prune_channels" and len(one) == 2]
    assert pruned == [{"ratio": 0.5}]
    last = (Step(name="prune_channels", options={"ratio": 0.75}), Step(name="export_onnx"))
    found = list(moves.grown(last, "pytorch", frozenset({"conv"}), calibration=False, training=True))
    assert all(len(one) == 3 for one in found)


def test_only_what_model_and_data_allow_is_tried() -> None:
    assert names(grown(source="onnx", traits=frozenset({"linear"}), calibration=False)) == [
        ("optimize_graph",),
        ("quantize_dynamic",),
    ]
    assert not [one for one in names(grown("export_onnx", training=False)) if one[0] != "export_onnx"]
    assert not [one for one in names(grown("export_onnx", calibration=False)) if "quantize_static" in one]


def test_what_ends_as_litert_is_not_grown() -> None:
    assert grown("convert_litert") == []
    assert moves.traits(Path("model.tflite")) == frozenset()


EXPORT: tuple[str, dict[str, Any]] = ("export_onnx", {})
AWARE: tuple[str, dict[str, Any]] = ("quantize_aware", {})
TAUGHT: tuple[str, dict[str, Any]] = ("distill", {})


def options_of(name: str, *steps: tuple[str, dict[str, Any]], **data: bool) -> list[tuple[tuple[str, ...], object]]:
    """Of candidates that got a pass: the names of all passes, and that pass's options."""
    given = tuple(Step(name=one, options=options) for one, options in steps)
    found = moves.grown(given, "pytorch", EVERYTHING, **({"calibration": True, "training": True} | data))
    before = [step.name for step in given]
    return [
        (tuple(step.name for step in one), next(step.options for step in one if step.name == name))
        for one in found
        if name in [step.name for step in one] and name not in before
    ]


def test_a_model_learns_to_be_rounded_as_the_quantizer_after_it_rounds() -> None:
    cut = ("prune_channels", {"ratio": 0.5})
    assert options_of("quantize_aware", EXPORT, ("quantize_dynamic", {})) == []
    assert options_of("quantize_aware", EXPORT, ("quantize_static", {}), training=False) == []
    (found,) = options_of("quantize_aware", EXPORT, ("quantize_static", {"ops": ["conv"], "method": "entropy"}))
    assert found == (("quantize_aware", "export_onnx", "quantize_static"), {"ops": ["conv"]})
    ((after_the_cut, _),) = options_of("quantize_aware", cut, EXPORT, ("quantize_static", {}))
    assert after_the_cut == ("prune_channels", "quantize_aware", "export_onnx", "quantize_static")
    assert options_of("quantize_aware", EXPORT, ("quantize_static", {"ops": ["embedding"]})) == []


def test_only_what_was_cut_is_taught_back() -> None:
    cut = ("prune_channels", {"ratio": 0.5})
    assert options_of("distill", EXPORT, ("quantize_static", {})) == []
    assert options_of("distill", cut, EXPORT, training=False) == []
    assert options_of("distill", cut, EXPORT) == [(("prune_channels", "distill", "export_onnx"), {})]
    ((before_the_rounding, _),) = options_of("distill", cut, AWARE, EXPORT, ("quantize_static", {}))
    assert before_the_rounding[:3] == ("prune_channels", "distill", "quantize_aware")


def test_a_cut_comes_before_what_mends_it_but_after_a_student_of_its_own() -> None:
    student = ("distill", {"student": {"factory": "a:b"}})
    cut = ("drop_layers", {"count": 1})
    assert [
        names for names, _ in options_of("prune_channels", cut, TAUGHT, AWARE, EXPORT, ("quantize_static", {}))
    ] == [("drop_layers", "prune_channels", "distill", "quantize_aware", "export_onnx", "quantize_static")]
    assert [names for names, _ in options_of("prune_channels", student, EXPORT)] == [
        ("distill", "prune_channels", "export_onnx")
    ]


def test_what_lost_too_much_is_only_mended() -> None:
    steps = tuple(Step(name=name) for name in ("prune_channels", "export_onnx", "quantize_static"))
    found = moves.grown(steps, "pytorch", EVERYTHING, calibration=True, training=True, mending=True)
    assert [tuple(step.name for step in one) for one in found] == [
        ("prune_channels", "distill", "export_onnx", "quantize_static"),
        ("prune_channels", "quantize_aware", "export_onnx", "quantize_static"),
    ]


def test_the_order_is_always_the_same() -> None:
    assert grown("export_onnx") == grown("export_onnx")


def test_the_kinds_of_layers_are_read_from_the_graph(tmp_path: Path) -> None:
    assert moves.traits(onnx_models.write_linear(tmp_path / "linear.onnx")) == {"linear"}
    assert moves.traits(onnx_models.write_convolution(tmp_path / "conv.onnx")) == {"conv"}
    assert moves.traits(onnx_models.write_embedding(tmp_path / "embedding.onnx")) == {"embedding", "linear"}
