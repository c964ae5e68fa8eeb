"""ROUGE of summaries beside their references: words (1), pairs of words (2) and the longest common row of words (L).

As `rouge-score`, Google's rewriting of the original program, counts them, words as they stand (no stemmer, which knows
English alone): Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries". The score is the mean F1 of ROUGE-L
over the samples, of each its best reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from model_build.metrics.base import Result
from model_build.metrics.texts import problem, several, written

__all__ = ["LIBRARIES", "VERSION", "problem", "score"]

VERSION = 1
LIBRARIES = ("rouge-score",)
KINDS = ("rouge1", "rouge2", "rougeL")


class Words:
    """Splits at what is no letter or digit of any script; the library's own would drop every letter but a to z."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"[^\W_]+", text.lower())


def score(answers: Sequence[Any], references: Sequence[Any]) -> Result:
    """Means over the samples; `rouge1`, `rouge2` and `rougeL` are 0 to 100."""
    from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]

    scorer = RougeScorer(list(KINDS), tokenizer=Words())
    found = [
        scorer.score_multi(several(reference), answer)
        for answer, reference in zip(written(answers), references, strict=True)
    ]
    means = {kind: fmean(float(one[kind].fmeasure) for one in found) for kind in KINDS}
    return Result(means["rougeL"], {kind: 100 * mean for kind, mean in means.items()})
