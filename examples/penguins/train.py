"""Fits the committed estimator: `python -m examples.penguins.train`, a second.

A pipeline of scikit-learn as one is often met: texts to indicators, missing numbers filled, and a forest of trees
behind. The evaluation's birds are not looked at.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import Any

import joblib
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from examples.penguins import data

SEED = 20261124
TREES = 40
DEPTH = 6


def main() -> None:
    rows, labels = data.split(seen=True)
    names = np.array(data.SPECIES)[labels]
    estimator = build()
    folds = cross_val_score(estimator, table(rows), names, cv=5)
    estimator.fit(table(rows), names)
    joblib.dump(estimator, data.HERE / "model.joblib", compress=3)
    (data.HERE / "sample.json").write_text(json.dumps({"inputs": rows[:1]}, indent=2) + "\n", encoding="utf-8")

    tested, truth = data.evaluation()
    run = {
        "metric": "accuracy",
        "score": round(float(np.mean(estimator.predict(table(tested)) == np.array(data.SPECIES)[truth])), 4),
        "samples": len(truth),
        "cross_validation": [round(float(one), 4) for one in folds],
        "seed": SEED,
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("scikit-learn", "numpy", "joblib")},
    }
    text = json.dumps(run, indent=2) + "\n"
    (data.HERE / "training.json").write_text(text, encoding="utf-8")
    print(text, end="")


def build() -> Pipeline:
    texts = list(range(len(data.TEXTS)))
    numbers = list(range(len(texts), len(texts) + len(data.NUMBERS)))
    columns = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), texts),  # a missing one is a category of its own
            # Not scaled: trees gain nothing, and a value on a threshold would be rounded to another side in float32.
            ("numbers", SimpleImputer(strategy="median"), numbers),
        ]
    )
    return Pipeline(
        [("columns", columns), ("classifier", RandomForestClassifier(TREES, max_depth=DEPTH, random_state=SEED))]
    )


def table(rows: list[data.Row]) -> np.ndarray[Any, Any]:
    """Rows as the endpoint gives them to the model: a missing number is NaN, a missing text is empty."""
    made = np.empty((len(rows), len(data.TEXTS) + len(data.NUMBERS)), object)
    for place, row in enumerate(rows):
        made[place] = [row[name] or "" for name in data.TEXTS] + [
            np.nan if row[name] is None else row[name] for name in data.NUMBERS
        ]
    return made


if __name__ == "__main__":
    main()
