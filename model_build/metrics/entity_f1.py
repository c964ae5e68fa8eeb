"""`entity_f1`: the F1 of the spans that are found, counted over all texts (micro).

A span counts where its first and last character and its type are those of a reference, as in the shared task of
CoNLL-2003 (E. Tjong Kim Sang, F. De Meulder), which counts exact matches only. Precision is the share of the spans
found that are right, recall of the references that are found, F1 their harmonic mean. `f1_TYPE` is that of one type.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from model_build.metrics.base import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
LIBRARIES: tuple[str, ...] = ()

Span = tuple[int, int, int, str]
"""Text, first character, the one behind the last, type."""


def problem(reference: Any, labels: Sequence[str]) -> str:
    if not isinstance(reference, (list, tuple)):
        return f"must be a list of [start, end, type], one for each span, not {reference!r:.60}"
    types = {label.removeprefix("B-").removeprefix("I-") for label in labels}
    for one in reference:
        if not isinstance(one, (list, tuple)) or [type(value) for value in one] != [int, int, str]:
            return f"must be a list of [start, end, type], characters and a name; it has {one!r:.60}"
        if not 0 <= one[0] < one[1]:
            return f"has the span {list(one)!r:.60}, which ends before it begins"
        if types and one[2] not in types:
            return f"has the type {one[2]!r:.40}, which no label of the spec names"
    for first, second in pairwise(sorted(reference)):
        if second[0] < first[1]:
            return f"has spans that overlap: {list(first)!r:.60} and {list(second)!r:.60}"
    return ""


def score(answers: Sequence[Any], references: Sequence[Any]) -> Result:
    """`answers` are lists of `{"entity_group", "start", "end", …}`; one that failed has found nothing."""
    found: set[Span] = {
        (number, one["start"], one["end"], one["entity_group"])
        for number, spans in enumerate(answers)
        for one in spans or ()
    }
    wanted: set[Span] = {(number, *one) for number, spans in enumerate(references) for one in spans}
    counts = [Counter(kind for *_, kind in spans) for spans in (found & wanted, found, wanted)]
    right, given, there = (sum(count.values()) for count in counts)
    details = {"precision": _share(right, given), "recall": _share(right, there)}
    details |= {f"f1_{kind}": _f1(*(count[kind] for count in counts)) for kind in sorted(counts[2])}
    return Result(_f1(right, given, there), details)


def _f1(right: int, found: int, wanted: int) -> float:
    """2 P R / (P + R), written without the divisions by what may be 0."""
    return _share(2 * right, found + wanted)


def _share(part: int, whole: int) -> float:
    """Of nothing, all."""
    return part / whole if whole else 1.0
