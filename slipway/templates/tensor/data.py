"""The wine data of scikit-learn: 178 wines, 13 measurements each. Replace it by your own.

A factory returns `(samples, labels)`. A sample is what the endpoint has once a request is decoded: here a dict of
arrays without the batch's axis. Labels are int64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_wine

Samples = tuple[list[dict[str, Any]], Any]


def evaluation() -> Samples:
    """Every third wine. The gates judge by these, so neither training nor calibration may see them."""
    return _part(lambda index: index % 3 == 0)


def calibration() -> Samples:
    return training()


def training() -> Samples:
    return _part(lambda index: index % 3 != 0)


def _part(wanted: Any) -> Samples:
    features, labels = load_wine(return_X_y=True)
    chosen = [index for index in range(len(labels)) if wanted(index)]
    return [{"features": features[index].astype(np.float32)} for index in chosen], labels[chosen].astype(np.int64)
