"""precision@1, MAP@R and MRR: cases counted by hand, and what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest

from model_build.errors import UserError
from model_build.metrics import retrieval


def around(*degrees: float) -> list[list[float]]:
    """Vectors of the plane by their angles: the nearest is the one whose angle is."""
    return [[float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle)))] for angle in degrees]


def test_figures_are_as_counted_by_hand() -> None:
    # At 0 a, 10 b, 25 a, 27 b: 0 finds b, a, b; 10 finds a, a, b (the other b is last); 25 finds b, b, a; 27 a, b, a.
    result = retrieval.score(around(0, 10, 25, 27), [0, 1, 0, 1])
    assert result.value == 0
    assert result.details["mrr"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1 / 2) / 4)
    assert result.details["map_at_r"] == 0


def test_map_at_r_looks_at_as_many_neighbours_as_the_label_has() -> None:
    # a at 0, 1, 30, b at 3, 200: 0 finds a b | a; 1 finds a b | a; 30 finds b a | a; 3 finds a a a b; 200 finds a.
    result = retrieval.score(around(0, 1, 30, 3, 200), [0, 0, 0, 1, 1])
    assert result.value == pytest.approx(2 / 5)
    assert result.details["map_at_r"] == pytest.approx((1 / 2 + 1 / 2 + (1 / 2) / 2 + 0 + 0) / 5)


def test_length_does_not_matter() -> None:
    vectors = np.array(around(0, 10, 25, 27, 80)) * np.array([[1], [9], [0.1], [3], [7]])
    assert retrieval.score(vectors.tolist(), [0, 1, 0, 1, 1]) == retrieval.score(
        around(0, 10, 25, 27, 80), [0, 1, 0, 1, 1]
    )


def test_clusters_are_all_found_and_chance_finds_its_share() -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, 5, 700)  # more than one chunk
    apart = np.eye(5)[labels] + random.normal(0, 0.01, (700, 5))
    found = retrieval.score(apart.tolist(), labels.tolist())
    assert (found.value, found.details["map_at_r"], found.details["mrr"]) == pytest.approx((1, 1, 1))
    anywhere = retrieval.score(random.normal(size=(700, 5)).tolist(), labels.tolist())
    assert anywhere.value == pytest.approx(0.2, abs=0.06)


def test_a_sample_is_no_neighbour_of_itself_but_its_copy_is() -> None:
    assert retrieval.score(around(0, 0, 90, 90), [0, 1, 0, 1]).value == 0
    assert retrieval.score(around(0, 0, 90, 90), [0, 0, 1, 1]).value == 1


def test_one_that_is_alone_with_its_label_asks_nothing_and_can_be_found() -> None:
    assert retrieval.score(around(0, 1, 90), [0, 0, 7]).value == 1
    assert retrieval.score(around(0, 10, 4), [0, 0, 7]).value == 0


def test_an_answer_that_failed_is_wrong_and_found_by_nobody() -> None:
    vectors = [*around(0, 1), None, *around(90, 91)]
    result = retrieval.score(vectors, [0, 0, 0, 1, 1])
    assert result.value == pytest.approx(4 / 5)
    assert result.details["mrr"] == pytest.approx(4 / 5)
    assert retrieval.score([None] * 4, [0, 0, 1, 1]).value == 0


def test_labels_that_nobody_shares_are_told() -> None:
    with pytest.raises(UserError, match="no two evaluation samples have the same label"):
        retrieval.score(around(0, 1), [0, 1])


@pytest.mark.parametrize(
    ("reference", "labels", "message"),
    [
        (3, (), ""),
        (1, ("a", "b"), ""),
        (2, ("a", "b"), "is 2, and the spec names 2 labels"),
        (True, (), "must be an int"),
        ("a", (), "must be an int, the number of what the sample belongs with, not 'a'"),
    ],
)
def test_references_are_ints(reference: object, labels: tuple[str, ...], message: str) -> None:
    assert message in retrieval.problem(reference, labels)
    assert bool(message) == bool(retrieval.problem(reference, labels))
