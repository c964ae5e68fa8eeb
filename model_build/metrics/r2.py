"""`r2`: how much of the numbers' variance a regression explains, the coefficient of determination.

1 − Σ(y − ŷ)² / Σ(y − ȳ)². A model that is worse than the mean has less than 0, and scores 0; the figure itself is
`r2` among the details, beside `mae` and `rmse`, the mean absolute and the root mean squared error in the unit of the
numbers. A request that failed counts as the mean: it told nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from model_build.errors import UserError
from model_build.metrics.base import Result

VERSION = 1
LIBRARIES: tuple[str, ...] = ()


def problem(reference: Any, labels: Sequence[str]) -> str:
    if isinstance(reference, bool) or not isinstance(reference, (int, float)) or not math.isfinite(reference):
        return f"must be a number, not {reference!r:.60}"
    return ""


def score(answers: Sequence[Any], references: Sequence[Any]) -> Result:
    """Raises UserError where all references are alike: there is no variance to explain."""
    import numpy as np

    wanted = np.asarray(references, np.float64)
    around = wanted - wanted.mean()
    if not around.any():
        raise UserError("all evaluation labels are the same number, so r2 means nothing", "return samples that differ")
    given = np.array([wanted.mean() if one is None else one for one in answers], np.float64)
    errors = wanted - given
    value = 1 - float((errors**2).sum() / (around**2).sum())
    details = {"r2": value, "mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt((errors**2).mean()))}
    return Result(max(0.0, value), details)
