"""F1 of spans: cases counted by hand, and what must hold of any."""

from __future__ import annotations

from typing import Any

import pytest

from model_build.metrics import entity_f1

Spans = list[list[Any]]


def score(found: list[Spans | None], wanted: list[Spans]) -> dict[str, float]:
    answers = [
        spans if spans is None else [{"start": s, "end": e, "entity_group": kind, "score": 1.0} for s, e, kind in spans]
        for spans in found
    ]
    result = entity_f1.score(answers, wanted)
    return {"f1": result.value, **result.details}


A, B, C = [0, 4, "PER"], [5, 9, "LOC"], [10, 12, "PER"]


@pytest.mark.parametrize(
    ("found", "wanted", "precision", "recall"),
    [
        ([[A, B]], [[A, B]], 1, 1),
        ([[A]], [[A, B]], 1, 1 / 2),
        ([[A, B, C]], [[A]], 1 / 3, 1),
        ([[[0, 3, "PER"]]], [[A]], 0, 0),  # another end
        ([[[1, 4, "PER"]]], [[A]], 0, 0),  # another start
        ([[[0, 4, "LOC"]]], [[A]], 0, 0),  # another type
        ([[A], [B]], [[B], [A]], 0, 0),  # of another text
        ([[A, B], []], [[A], [B, C]], 1 / 2, 1 / 3),  # counted over all texts
        ([None, [B]], [[A], [B]], 1, 1 / 2),  # a request that failed
        ([[A, A]], [[A]], 1, 1),  # the same twice is one
        ([[]], [[A]], 1, 0),
        ([[A]], [[]], 0, 1),
        ([[]], [[]], 1, 1),
    ],
)
def test_precision_and_recall_are_as_counted_by_hand(
    found: list[Spans | None], wanted: list[Spans], precision: float, recall: float
) -> None:
    result = score(found, wanted)
    assert (result["precision"], result["recall"]) == pytest.approx((precision, recall))
    both = precision + recall
    assert result["f1"] == pytest.approx(2 * precision * recall / both if both else 0)


def test_each_type_has_its_own() -> None:
    result = score([[A, B]], [[A, [5, 8, "LOC"], C]])
    assert result["f1_PER"] == pytest.approx(2 / 3)
    assert result["f1_LOC"] == 0
    assert result["f1"] == pytest.approx(2 / 5)


LABELS = ("O", "B-PER", "I-PER")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ([], ""),
        ([[0, 4, "PER"], [4, 5, "PER"]], ""),
        ("PER", "must be a list of [start, end, type], one for each span"),
        ([["PER", 0, 4]], "characters and a name; it has"),
        ([[0, 4]], "characters and a name; it has"),
        ([[True, 4, "PER"]], "characters and a name; it has"),
        ([[4, 4, "PER"]], "which ends before it begins"),
        ([[-1, 4, "PER"]], "which ends before it begins"),
        ([[0, 4, "LOC"]], "has the type 'LOC', which no label of the spec names"),
        ([[5, 9, "PER"], [0, 6, "PER"]], "has spans that overlap"),
    ],
)
def test_references_are_spans_of_known_types(reference: Any, message: str) -> None:
    found = entity_f1.problem(reference, LABELS)
    assert message in found
    assert bool(found) == bool(message)
