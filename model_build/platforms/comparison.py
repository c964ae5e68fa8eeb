"""How far the outputs of a converted model are from the source's: agreement of the classes, and differences.

Apart from `conversion`, which makes both: this is arithmetic over arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_build.passes.base import Array


@dataclass(frozen=True)
class Comparison:
    samples: int
    agreement: float | None
    """Share of the samples for which both have the same class first; None where the outputs are no classes."""
    largest: float
    """The largest difference of an output, as a share of that output's largest value in the source."""
    mean: float
    """The mean difference, as the same share; the largest of all outputs."""


def compare(outputs: Iterable[tuple[list[Array], list[Array]]], classes: int) -> Comparison:
    """Of each output, the source's arrays and those of the converted model, in groups of equal shapes.

    With `classes`, the first output is taken as the scores of so many. What is not finite, or of another shape, agrees
    with nothing and is infinitely far.
    """
    import numpy as np

    samples, agreement, largest, mean = 0, None, 0.0, 0.0
    for number, (source, converted) in enumerate(outputs):
        fits = [one.shape == other.shape for one, other in zip(source, converted, strict=True)]
        if number == 0:
            samples = sum(len(one) for one in source)
            if classes and all(one.ndim > 1 and one.shape[-1] == classes for one in source):
                answers = sum(one[..., 0].size for one in source)
                agreement = sum(_equal(*pair) for pair in zip(source, converted, strict=True)) / answers
        if not all(fits):
            return Comparison(samples, agreement, np.inf, np.inf)
        scale = max(1e-6, max(float(np.abs(one.astype(np.float64)).max(initial=0.0)) for one in source))
        off = [np.abs(one.astype(np.float64) - other) for one, other in zip(source, converted, strict=True)]
        off = [np.where(np.isfinite(one), one, np.inf) for one in off]
        count = sum(one.size for one in off)
        largest = max(largest, max(float(one.max(initial=0.0)) for one in off) / scale)
        mean = max(mean, sum(float(one.sum()) for one in off) / count / scale if count else 0.0)
    return Comparison(samples, agreement, largest, mean)


def _equal(source: Array, converted: Array) -> int:
    """How many answers have the same class first."""
    import numpy as np

    if source.shape != converted.shape:
        return 0
    valid = np.isfinite(converted).all(axis=-1)
    return int(((source.argmax(axis=-1) == converted.argmax(axis=-1)) & valid).sum())
