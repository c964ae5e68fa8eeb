"""The handwritten digits of scikit-learn: 1,797 grey pictures, 8 x 8. Replace them by your own.

A factory returns `(samples, labels)`. A sample is what the endpoint has once a picture is decoded: uint8 (height,
width), or (height, width, 3) in colour. Labels are int64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

Samples = tuple[Any, Any]


def evaluation() -> Samples:
    """Every fourth picture. The gates judge by these, so neither training nor calibration may see them."""
    images, labels = _all()
    return images[::4], labels[::4]


def calibration() -> Samples:
    images, labels = training()
    return images[:256], labels[:256]


def training() -> Samples:
    images, labels = _all()
    kept = np.arange(len(labels)) % 4 != 0
    return images[kept], labels[kept]


def _all() -> Samples:
    digits = load_digits()
    return (digits.images * 255 / 16).astype(np.uint8), digits.target.astype(np.int64)
