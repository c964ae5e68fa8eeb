"""Estimators to ONNX: outputs by name, compared with the original, and each thing that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import cluster, decomposition, ensemble, linear_model, svm
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_build.errors import UserError
from model_build.sources import estimators
from model_build.sources.estimators import convert

RANDOM = np.random.default_rng(0)
X = (RANDOM.normal(size=(120, 4)) * [1, 10, 100, 1000]).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 2] > 50).astype(int)
GIVEN = {"where": "tensor.inputs.x", "name": "x", "dtype": "float32", "features": 4}


def made(estimator: Any, target: Path, *outputs: str, samples: Any = None, **given: Any) -> dict[str, Any]:
    """What the converted estimator answers on X."""
    import onnxruntime

    if samples is not None:
        np.savez(target / "samples.npz", x=samples)
    path = target / "m.onnx"
    convert(estimator, GIVEN | given, outputs, target / "samples.npz" if samples is not None else None, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == list(outputs)
    assert [one.name for one in session.get_inputs()] == ["x"]
    kind = {"float32": np.float32, "float64": np.float64}[given.get("dtype", "float32")]
    return dict(zip(outputs, session.run(list(outputs), {"x": X.astype(kind)}), strict=True))


FOREST = ensemble.RandomForestClassifier(10, random_state=0).fit(X, Y)
PIPELINE = make_pipeline(StandardScaler(), linear_model.LogisticRegression()).fit(X, Y)


@pytest.mark.parametrize("classifier", [FOREST, PIPELINE], ids=["forest", "pipeline"])
@pytest.mark.parametrize("outputs", [("probabilities", "label"), ("label", "p"), ("logits",), ("label",)], ids=str)
def test_a_classifier_gives_class_and_probabilities_by_name(classifier: Any, outputs: Any, tmp_path: Path) -> None:
    got = made(classifier, tmp_path, *outputs, samples=X)
    for name, values in got.items():
        if name == "label":
            np.testing.assert_array_equal(values, classifier.predict(X))
        else:
            np.testing.assert_allclose(values, classifier.predict_proba(X), atol=1e-4)


def test_a_classifier_without_probabilities_gives_its_decision(tmp_path: Path) -> None:
    scaled = StandardScaler().fit(X)
    classifier = svm.LinearSVC().fit(scaled.transform(X), Y)
    got = made(classifier, tmp_path, "scores")["scores"]
    np.testing.assert_allclose(got, classifier.decision_function(X), rtol=1e-3, atol=1e-2)


def test_a_regressor_a_transformer_and_a_clusterer_are_named_in_order(tmp_path: Path) -> None:
    regressor = ensemble.RandomForestRegressor(5, random_state=0).fit(X, X[:, 0])
    np.testing.assert_allclose(
        made(regressor, tmp_path, "output")["output"][:, 0], regressor.predict(X), rtol=1e-4, atol=1e-4
    )
    reduced = decomposition.PCA(2).fit(X)
    np.testing.assert_allclose(made(reduced, tmp_path, "y")["y"], reduced.transform(X), rtol=1e-3, atol=0.1)
    groups = cluster.KMeans(3, random_state=0, n_init=1).fit(X)
    np.testing.assert_array_equal(made(groups, tmp_path, "group", "distance")["group"], groups.predict(X))
    assert list(made(groups, tmp_path, "group")) == ["group"]


def test_doubles_stay_doubles(tmp_path: Path) -> None:
    classifier = linear_model.LogisticRegression().fit(X / 1000, Y)
    assert made(classifier, tmp_path, "probabilities", dtype="float64")["probabilities"].dtype == np.float64


def test_what_only_a_dropped_output_needs_is_dropped(tmp_path: Path) -> None:
    import onnx

    made(PIPELINE, tmp_path, "probabilities", "label")
    both = len(onnx.load(tmp_path / "m.onnx").graph.node)
    made(PIPELINE, tmp_path, "label")
    assert len(onnx.load(tmp_path / "m.onnx").graph.node) < both


def test_a_model_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regressor = linear_model.LinearRegression().fit(X, X[:, 0] * 3)
    own = type(regressor).predict
    monkeypatch.setattr(type(regressor), "predict", lambda self, x: own(self, x) * 1.01)
    with pytest.raises(UserError, match=r"output 'y' of the converted LinearRegression is off by 0\.0099"):
        made(regressor, tmp_path, "y")
    monkeypatch.setattr(type(FOREST), "predict", lambda self, x: np.zeros(len(x), int))
    with pytest.raises(UserError, match="the converted RandomForestClassifier names another class than the original"):
        made(FOREST, tmp_path, "label", samples=X)
    assert not (tmp_path / "m.onnx").exists()


class Own(BaseEstimator):
    def fit(self, x: Any) -> Own:
        self.fitted_ = True
        return self


class OwnTransformer(Own):
    def transform(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    ("estimator", "outputs", "message"),
    [
        ({"weight": 1}, ("y",), "holds dict, not an estimator of scikit-learn"),
        (linear_model.Ridge(), ("y",), "holds a Ridge that was never fitted"),
        (linear_model.Ridge().fit(X[:, :3], Y), ("y",), r"takes 3 features; tensor\.inputs\.x has 4"),
        (FOREST, ("a", "b"), r"has two outputs; tensor\.outputs has a, b"),
        (linear_model.Ridge().fit(X, Y), ("a", "b"), r"a Ridge has 1 output; tensor\.outputs has a, b"),
        (
            ensemble.RandomForestClassifier(2).fit(X, np.array(["no", "maybe", "yes"])[Y]),
            ("label",),
            "the classes of this RandomForestClassifier are text",
        ),
        (Own().fit(X), ("y",), "only classifiers, regressors, clusterers and transformers are converted"),
        (OwnTransformer().fit(X), ("y",), "the OwnTransformer cannot be converted to ONNX: MissingShapeCalculator"),
    ],
    ids=str,
)
def test_what_cannot_become_onnx_is_told(estimator: Any, outputs: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        made(estimator, tmp_path, *outputs)


def test_classes_that_are_text_still_have_probabilities(tmp_path: Path) -> None:
    classifier = ensemble.RandomForestClassifier(2, random_state=0).fit(X, np.array(["no", "maybe", "yes"])[Y])
    got = made(classifier, tmp_path, "probabilities")["probabilities"]
    np.testing.assert_allclose(got, classifier.predict_proba(X), atol=1e-5)


def test_notes_say_how_many_samples_were_compared(tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", x=X)
    (note,) = convert(FOREST, GIVEN, ["label"], tmp_path / "samples.npz", tmp_path / "m.onnx")
    rows = len(X) + estimators.MADE_UP
    assert note == (
        f"RandomForestClassifier as ONNX answers as the original does on {rows} evaluation samples and made-up ones"
    )
