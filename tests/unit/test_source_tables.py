"""Estimators over the columns of a table: texts, numbers and what is missing come out of ONNX as they went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from model_build.datasets import example, serving_config
from model_build.errors import UserError
from model_build.sources import pickled
from model_build.sources.allowlist import RefusedError, read_joblib
from model_build.sources.estimators import convert
from model_build.spec import Spec
from serving.tasks import TASKS

COLUMNS: list[dict[str, Any]] = [
    {"name": "kind", "type": "category", "categories": ["s", "m", "l"], "missing": ""},
    {"name": "x", "missing": "nan"},
    {"name": "n", "type": "integer"},
]
RANDOM = np.random.default_rng(0)
ROWS: list[dict[str, Any]] = [
    {
        "kind": [None, "s", "m", "l"][int(RANDOM.integers(4))],
        "x": None if RANDOM.random() < 0.1 else float(RANDOM.normal()),
        "n": int(RANDOM.integers(100)),
    }
    for _ in range(150)
]
SPECIES = np.array([f"c{int(row['n'] > 60) + int((row['x'] or 0) > 0)}" for row in ROWS])


def spec(**changes: Any) -> Spec:
    values = {
        "name": "m",
        "task": "tabular",
        "labels": ["c0", "c1", "c2"],
        "source": {"joblib": {"path": "m.joblib", "allow_code": True}},
        "tabular": {"columns": COLUMNS, "inputs": "columns"},
    }
    return Spec.model_validate(values | changes)


def table() -> np.ndarray[Any, Any]:
    rows = [[row["kind"] or "", np.nan if row["x"] is None else row["x"], row["n"]] for row in ROWS]
    made = np.empty((len(rows), 3), object)
    made[:] = rows
    return made


def pipeline(last: Any, numbers: Any = None) -> Pipeline:
    columns = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), [0]),
            ("numbers", numbers or SimpleImputer(strategy="median"), [1, 2]),
        ]
    )
    return Pipeline([("columns", columns), ("last", last)])


def converted(estimator: Any, one: Spec, target: Path) -> tuple[dict[str, Any], str]:
    """What the ONNX model answers, and the note."""
    config = serving_config(one, Path())
    outputs = TASKS["tabular"].output_names(config)
    batch: dict[str, Any] = TASKS["tabular"].encode(ROWS, config)
    np.savez(target / "samples.npz", **batch)
    (note,) = convert(estimator, pickled.given(one), outputs, target / "samples.npz", target / "m.onnx")
    session = onnxruntime.InferenceSession(target / "m.onnx", providers=["CPUExecutionProvider"])
    assert {one.name for one in session.get_inputs()} == set(TASKS["tabular"].input_axes(config))
    return dict(zip(outputs, session.run(list(outputs), batch), strict=True)), note


@pytest.mark.parametrize(
    "estimator",
    [
        pipeline(RandomForestClassifier(8, max_depth=4, random_state=0)),
        pipeline(LogisticRegression(max_iter=500), make_pipeline(SimpleImputer(), StandardScaler())),
    ],
    ids=["forest", "linear"],
)
def test_a_classifier_of_text_and_numbers_answers_as_the_original(estimator: Any, tmp_path: Path) -> None:
    estimator.fit(table(), SPECIES)
    got, note = converted(estimator, spec(), tmp_path)
    np.testing.assert_allclose(got["scores"], estimator.predict_proba(table()), atol=1e-4)
    assert "406 evaluation samples and made-up ones" in note  # 150, and 256


def test_a_regression_gives_predictions(tmp_path: Path) -> None:
    numbers = np.array([row["n"] / 10 + (row["x"] or 0) for row in ROWS])
    estimator = pipeline(GradientBoostingRegressor(n_estimators=10, random_state=0)).fit(table(), numbers)
    got, _ = converted(estimator, spec(labels=[]), tmp_path)
    np.testing.assert_allclose(got["predictions"][:, 0], estimator.predict(table()), rtol=1e-4, atol=1e-4)


def test_features_are_the_one_input_of_an_estimator_of_numbers(tmp_path: Path) -> None:
    one = spec(tabular={"columns": COLUMNS})
    features = TASKS["tabular"].encode(ROWS, serving_config(one, Path()))["features"]
    estimator = make_pipeline(SimpleImputer(), RandomForestClassifier(5, max_depth=3, random_state=0))
    estimator.fit(features, SPECIES)
    got, _ = converted(estimator, one, tmp_path)
    np.testing.assert_allclose(got["scores"], estimator.predict_proba(features), atol=1e-4)


def test_categories_of_any_text_are_compared_on_the_samples_alone(tmp_path: Path) -> None:
    columns = [{"name": "kind", "type": "category", "missing": ""}, *COLUMNS[1:]]
    estimator = pipeline(LogisticRegression(max_iter=500)).fit(table(), SPECIES)
    _, note = converted(estimator, spec(tabular={"columns": columns, "inputs": "columns"}), tmp_path)
    assert "on 150 evaluation samples" in note


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["c1", "c0", "c2"]}, "whose classes are, in the order of its outputs, c0, c1, c2"),
        ({"labels": ["c0", "c1"]}, "of 3 classes, and the spec names 2 labels"),
        ({"labels": []}, "which is a classifier"),
        ({"tabular": {"columns": COLUMNS[:2], "inputs": "columns"}}, "takes 3 features; tabular.columns has 2"),
    ],
)
def test_a_spec_that_does_not_fit_the_estimator_says_what_does(changes: Any, message: str, tmp_path: Path) -> None:
    estimator = pipeline(LogisticRegression(max_iter=500)).fit(table(), SPECIES)
    with pytest.raises(UserError, match=message):
        convert(estimator, pickled.given(spec(**changes)), ["scores"], None, tmp_path / "m.onnx")


def test_a_regressor_with_labels_is_refused(tmp_path: Path) -> None:
    estimator = pipeline(GradientBoostingRegressor(n_estimators=2)).fit(table(), np.arange(150.0))
    with pytest.raises(UserError, match="is no classifier"):
        convert(estimator, pickled.given(spec()), ["scores"], None, tmp_path / "m.onnx")


def test_other_names_than_those_it_was_fitted_on_are_refused(tmp_path: Path) -> None:
    estimator = pipeline(LogisticRegression(max_iter=500)).fit(table(), SPECIES)
    estimator.steps[0][1].feature_names_in_ = np.array(["kind", "n", "x"], object)  # as a frame of pandas leaves them
    with pytest.raises(UserError, match=r"fitted on the columns kind, n, x; tabular.columns are kind, x, n"):
        convert(estimator, pickled.given(spec()), ["scores"], None, tmp_path / "m.onnx")


def test_a_pipeline_over_columns_is_read_from_its_file(tmp_path: Path) -> None:
    columns = ColumnTransformer([("texts", OrdinalEncoder(), [0])], remainder="passthrough")
    estimator = make_pipeline(columns, SimpleImputer(), LogisticRegression(max_iter=5000)).fit(table(), SPECIES)
    joblib.dump(estimator, tmp_path / "m.joblib", compress=3)
    read = read_joblib(tmp_path / "m.joblib")
    np.testing.assert_array_equal(read.predict(table()), estimator.predict(table()))


def test_a_function_in_a_pipeline_is_refused(tmp_path: Path) -> None:
    from sklearn.preprocessing import FunctionTransformer

    joblib.dump(make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), tmp_path / "m.joblib")
    with pytest.raises(RefusedError):
        read_joblib(tmp_path / "m.joblib")


def test_rows_are_made_up_to_trace_with() -> None:
    batch = example(spec(), Path())
    assert {name: array.shape for name, array in batch.items()} == {"kind": (2, 1), "x": (2, 1), "n": (2, 1)}
    assert example(spec(tabular={"columns": COLUMNS}), Path())["features"].shape == (2, 3)
