"""`macro_f1`: the mean over the classes of their F1, the harmonic mean of precision and recall, whatever their sizes.

A class that neither occurs nor is answered is left out. `macro_precision` and `macro_recall` are the means of the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from model_build.metrics.base import Result

VERSION = 1
LIBRARIES: tuple[str, ...] = ()


def problem(reference: Any, labels: Sequence[str]) -> str:
    if reference not in labels:
        return f"must be one of the spec's labels by its name, not {reference!r:.60}"
    return ""


def score(answers: Sequence[Any], references: Sequence[Any]) -> Result:
    wanted = Counter(references)
    given = Counter(one for one in answers if one is not None)
    right = Counter(one for one, other in zip(answers, references, strict=True) if one == other)
    classes = sorted(wanted | given)
    f1 = [2 * right[one] / (wanted[one] + given[one]) for one in classes]
    precision = [right[one] / given[one] if given[one] else 0.0 for one in classes]
    recall = [right[one] / wanted[one] if wanted[one] else 0.0 for one in classes]
    count = len(classes)
    return Result(sum(f1) / count, {"macro_precision": sum(precision) / count, "macro_recall": sum(recall) / count})
