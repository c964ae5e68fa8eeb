"""The metrics of tables, `macro_f1` and `r2`, beside scikit-learn's, and which of a spec's labels they need."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn

from model_build.errors import UserError
from model_build.metrics import METRICS, macro_f1, metric_of, metrics_of, r2
from model_build.spec import Spec

LABELS = ("a", "b", "c", "d")


def spec(labels: Any = (), **changes: Any) -> Spec:
    values = {"name": "m", "task": "tabular", "source": {"onnx": {"path": "m.onnx"}}, "labels": labels}
    return Spec.model_validate(values | {"tabular": {"columns": [{"name": "x"}]}} | changes)


def test_a_table_is_scored_by_what_its_answers_are() -> None:
    assert metrics_of(spec(["a", "b"])) == ("accuracy", "macro_f1")
    assert (metrics_of(spec()), metric_of(spec())) == (("r2",), "r2")
    assert metric_of(spec(["a", "b"], measure={"metric": "macro_f1"})) == "macro_f1"


@pytest.mark.parametrize("seed", range(20))
def test_macro_f1_is_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    wanted = random.choice(LABELS[:3], 40).tolist()
    given = [one if random.random() < 0.6 else str(random.choice(LABELS)) for one in wanted]
    result = macro_f1.score(given, wanted)
    assert result.value == pytest.approx(sklearn.f1_score(wanted, given, average="macro"))
    precision, recall, _, _ = sklearn.precision_recall_fscore_support(wanted, given, average="macro", zero_division=0)
    assert result.details == {"macro_precision": pytest.approx(precision), "macro_recall": pytest.approx(recall)}


def test_macro_f1_weighs_a_rare_class_like_a_frequent_one() -> None:
    result = macro_f1.score(["a"] * 9 + ["a"], ["a"] * 9 + ["b"])
    assert result.value == pytest.approx((18 / 19 + 0) / 2)


def test_a_failed_request_is_a_miss_of_its_class_alone() -> None:
    assert macro_f1.score([None, "a", "b"], ["a", "a", "b"]).value == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("seed", range(20))
def test_r2_and_the_errors_are_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    wanted = random.normal(50, 10, 60)
    given = wanted + random.normal(0, 2 + seed, 60)
    result = r2.score(given.tolist(), wanted.tolist())
    expected = sklearn.r2_score(wanted, given)
    assert result.value == pytest.approx(max(0, expected))
    assert result.details == {
        "r2": pytest.approx(expected),
        "mae": pytest.approx(sklearn.mean_absolute_error(wanted, given)),
        "rmse": pytest.approx(math.sqrt(sklearn.mean_squared_error(wanted, given))),
    }


def test_worse_than_the_mean_scores_nothing_and_says_how_much() -> None:
    result = r2.score([3.0, 2.0, 1.0], [1.0, 2.0, 3.0])
    assert result.value == 0
    assert result.details["r2"] == pytest.approx(-3)


def test_a_failed_request_told_no_more_than_the_mean() -> None:
    assert r2.score([None, None, None], [1.0, 2.0, 6.0]).value == 0
    assert r2.score([1.0, None, 3.0], [1.0, 2.0, 3.0]).value == 1


def test_numbers_without_variance_cannot_be_scored() -> None:
    with pytest.raises(UserError, match="the same number"):
        r2.score([1.0, 1.0], [2.0, 2.0])


@pytest.mark.parametrize(
    ("name", "reference", "message"),
    [
        ("r2", 3, ""),
        ("r2", -0.5, ""),
        ("r2", True, "must be a number"),
        ("r2", "3", "must be a number"),
        ("r2", math.nan, "must be a number"),
        ("macro_f1", "a", ""),
        ("macro_f1", "z", "one of the spec's labels"),
        ("macro_f1", 0, "one of the spec's labels"),
    ],
)
def test_a_reference_that_is_none_says_why(name: str, reference: Any, message: str) -> None:
    problem = METRICS[name].problem(reference, LABELS)
    assert (message in problem) if message else problem == ""
