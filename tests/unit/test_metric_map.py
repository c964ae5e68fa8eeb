"""The metric `map`: cases that can be counted by hand, and what holds for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_build.errors import UserError
from model_build.metrics import METRICS
from model_build.metrics import map as metric


def box(left: float, top: float, right: float, bottom: float) -> dict[str, float]:
    return dict(zip(metric.SIDES, (left, top, right, bottom), strict=True))


def an(label: str, *sides: float, score: float | None = None) -> dict[str, Any]:
    return {"label": label, "box": box(*sides)} | ({} if score is None else {"score": score})


SQUARE = (0.0, 0.0, 0.5, 0.5)
ELSEWHERE = (0.5, 0.5, 1.0, 1.0)


def test_boxes_as_they_are_score_one() -> None:
    references = [[an("a", *SQUARE), an("b", *ELSEWHERE)], [an("a", *ELSEWHERE)], []]
    answers = [[one | {"score": 0.9} for one in picture] for picture in references]
    result = metric.score(answers, references)
    assert result.value == pytest.approx(1)
    assert result.details == {"map50": pytest.approx(1), "map75": pytest.approx(1)}


def test_a_box_that_overlaps_by_four_fifths_is_right_at_seven_limits_of_ten() -> None:
    result = metric.score([[an("a", 0, 0, 0.5, 0.4, score=0.5)]], [[an("a", *SQUARE)]])
    assert result.value == pytest.approx(0.7)
    assert result.details["map75"] == pytest.approx(1)


def test_a_wrong_box_ahead_of_the_right_one_halves_the_precision() -> None:
    answers = [[an("a", *ELSEWHERE, score=0.9), an("a", *SQUARE, score=0.8)]]
    assert metric.score(answers, [[an("a", *SQUARE)]]).value == pytest.approx(0.5)
    behind = [[an("a", *ELSEWHERE, score=0.7), an("a", *SQUARE, score=0.8)]]
    assert metric.score(behind, [[an("a", *SQUARE)]]).value == pytest.approx(1)


def test_half_of_the_objects_found_are_51_of_the_101_steps_of_recall() -> None:
    references = [[an("a", *SQUARE), an("a", *ELSEWHERE)]]
    assert metric.score([[an("a", *SQUARE, score=0.8)]], references).value == pytest.approx(51 / 101)


def test_an_object_that_is_found_twice_counts_once() -> None:
    references = [[an("a", *SQUARE)], [an("a", *ELSEWHERE)]]
    twice = [[an("a", *SQUARE, score=0.9), an("a", *SQUARE, score=0.8)], [an("a", *ELSEWHERE, score=0.7)]]
    # half of the recall at precision 1, the other half at two of three
    assert metric.score(twice, references).value == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_classes_weigh_the_same_and_those_without_an_object_nothing() -> None:
    references = [[an("a", *SQUARE)], [an("a", *SQUARE)], [an("b", *SQUARE)]]
    answers = [[an("a", *SQUARE, score=0.9)], [an("a", *SQUARE, score=0.9)], [an("c", *SQUARE, score=0.9)]]
    assert metric.score(answers, references).value == pytest.approx(1 / 2)


def test_a_failed_request_found_nothing() -> None:
    references = [[an("a", *SQUARE)], [an("a", *SQUARE)]]
    assert metric.score([None, [an("a", *SQUARE, score=0.5)]], references).value == pytest.approx(51 / 101)
    assert metric.score([None, []], references).value == 0


def test_data_without_any_object_cannot_be_scored() -> None:
    with pytest.raises(UserError, match="at least one object"):
        metric.score([[], []], [[], []])


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_pictures_and_of_boxes_does_not_matter(seed: int) -> None:
    random = np.random.default_rng(seed)

    def some(count: int, **score: Any) -> list[dict[str, Any]]:
        corners = np.sort(random.random((count, 2, 2)), axis=1).reshape(count, 4)
        return [an("ab"[number % 2], *map(float, one)) | score for number, one in enumerate(corners)]

    references = [some(3) for _ in range(8)]
    answers = [[one | {"score": float(random.random())} for one in (*picture[:2], *some(2))] for picture in references]
    value = metric.score(answers, references).value
    assert 0 <= value <= 1
    order = random.permutation(8)
    turned = metric.score([answers[index][::-1] for index in order], [references[index][::-1] for index in order])
    assert turned.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ([], ""),
        ([an("a", *SQUARE)], ""),
        ("a", "must be a list of objects"),
        ([{"label": "a"}], "must hold objects like"),
        ([an("a", *SQUARE) | {"score": 1}], "must hold objects like"),
        ([an("z", *SQUARE)], "names 'z'"),
        ([an("a", 0, 0, 48, 48)], "fractions of the picture"),
        ([an("a", 0.5, 0, 0.5, 1)], "fractions of the picture"),
        ([{"label": "a", "box": box(0, 0, 1, 1) | {"xmax": "1"}}], "no numbers"),
        ([{"label": "a", "box": [0, 0, 1, 1]}], "must hold objects like"),
    ],
)
def test_a_reference_that_is_none_says_why(reference: Any, message: str) -> None:
    problem = METRICS["map"].problem(reference, ("a", "b"))
    assert (message in problem) if message else problem == ""
