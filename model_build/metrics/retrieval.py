"""`retrieval`: whether the sample that lies nearest to another has the same label.

Each sample asks in turn, and all others are ranked by the cosine to it, exactly. The score is precision@1, the share
of those whose nearest neighbour has their label. `map_at_r` is the mean average precision among as many neighbours as
the label has (K. Musgrave, S. Belongie, S. Lim, "A Metric Learning Reality Check", ECCV 2020), `mrr` the mean of the
reciprocal rank of the first that is right. A sample that alone has its label is found by others, and asks nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.metrics.base import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
LIBRARIES: tuple[str, ...] = ()

CHUNK = 256
"""Samples that ask at once: the cosines to all others are held for as many."""


def problem(reference: Any, labels: Sequence[str]) -> str:
    if isinstance(reference, bool) or not isinstance(reference, int):
        return f"must be an int, the number of what the sample belongs with, not {reference!r:.60}"
    if labels and not 0 <= reference < len(labels):
        return f"is {reference}, and the spec names {len(labels)} labels"
    return ""


def score(answers: Sequence[Any], references: Sequence[Any]) -> Result:
    """`answers` are vectors of one length; one that failed finds nothing and is found by nobody."""
    import numpy as np

    _, labels, sizes = np.unique(np.asarray(references), return_inverse=True, return_counts=True)
    asking = np.flatnonzero(sizes[labels] > 1)
    if not len(asking):
        raise UserError(
            "no two evaluation samples have the same label, so none can find another", "return more samples of each"
        )
    vectors = _unit_vectors(answers)
    answered = np.array([one is not None for one in answers])
    first, precision, reciprocal = 0.0, 0.0, 0.0
    for start in range(0, len(asking), CHUNK):
        rows = asking[start : start + CHUNK]
        cosines = vectors[rows] @ vectors.T
        cosines[:, ~answered] = -2  # below every cosine
        cosines[np.arange(len(rows)), rows] = -3  # a sample is no neighbour of itself
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :-1]
        right = (labels[order] == labels[rows, None]) & answered[order] & answered[rows, None]
        wanted = sizes[labels[rows]] - 1
        places = np.arange(1, order.shape[1] + 1)
        hits = right & (places <= wanted[:, None])
        first += right[:, 0].sum()
        precision += ((hits.cumsum(1) / places * hits).sum(1) / wanted).sum()
        reciprocal += (right.any(1) / (right.argmax(1) + 1)).sum()
    count = len(asking)
    return Result(float(first / count), {"map_at_r": float(precision / count), "mrr": float(reciprocal / count)})


def _unit_vectors(answers: Sequence[Any]) -> Any:
    """float64 (samples, dimension); zeros stand for the answers that failed."""
    import numpy as np

    dimension = next((len(one) for one in answers if one is not None), 1)
    vectors = np.array([np.zeros(dimension) if one is None else one for one in answers], np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
