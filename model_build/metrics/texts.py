"""What BLEU, chrF and ROUGE have in common: references of one text or several, and answers that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def problem(reference: Any, labels: Sequence[str]) -> str:
    """What is wrong with a reference; empty is good."""
    texts = reference if isinstance(reference, (list, tuple)) and reference else [reference]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return "must be the text that is wanted, or a list of several that would do"
    return ""


def written(answers: Sequence[Any]) -> list[str]:
    """An answer that failed is an empty text."""
    return [answer if isinstance(answer, str) else "" for answer in answers]


def several(reference: Any) -> list[str]:
    return [reference] if isinstance(reference, str) else list(reference)


def by_position(references: Sequence[Any]) -> Any:
    """Of every sample its first reference, then of every sample its second, …; None where it has none."""
    each = [several(reference) for reference in references]
    return [[one[n] if n < len(one) else None for one in each] for n in range(max(map(len, each)))]
