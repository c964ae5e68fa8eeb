"""chrF of whole texts beside their references: sequences of up to six characters that the two share.

As `sacrebleu` counts it by default (chrF2: recall counts twice): Popović 2015, "chrF: character n-gram F-score for
automatic MT evaluation". It forgives an ending that is wrong, which BLEU does not. The score is chrF / 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_build.metrics.base import Result
from model_build.metrics.texts import by_position, problem, written

__all__ = ["LIBRARIES", "VERSION", "problem", "score"]

VERSION = 1
LIBRARIES = ("sacrebleu",)


def score(answers: Sequence[Any], references: Sequence[Any]) -> Result:
    """The corpus's chrF2; `chrf` is 0 to 100."""
    from sacrebleu.metrics.chrf import CHRF

    figure = CHRF().corpus_score(written(answers), by_position(references)).score
    return Result(min(max(figure / 100, 0.0), 1.0), {"chrf": figure})
