"""BLEU of whole texts beside their references: words and phrases that the two share, up to four words long.

Corpus BLEU as `sacrebleu` counts it by default (13a tokens, smoothed by `exp`), whose figures compare across papers:
Papineni et al. 2002; Post 2018, "A Call for Clarity in Reporting BLEU Scores". The score is BLEU / 100.
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
    """The corpus's BLEU; `bleu` is 0 to 100."""
    from sacrebleu.metrics.bleu import BLEU

    figure = BLEU().corpus_score(written(answers), by_position(references)).score
    return Result(min(max(figure / 100, 0.0), 1.0), {"bleu": figure})
