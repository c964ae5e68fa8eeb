"""`word_accuracy`: 1 − WER, and 0 where the word error rate is above 1.

The word error rate is the fewest words to replace, add and leave out to make the texts of the answers those of the
references, over all samples, divided by the words of the references; `cer` is the same of characters. Both are counted
by `jiwer`. Case and punctuation count as they are; spaces at the ends and doubled ones do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_build.metrics.base import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
LIBRARIES = ("jiwer",)


def problem(reference: Any, labels: Sequence[str]) -> str:
    if not isinstance(reference, str) or not reference.strip():
        return f"must be the text that is said, a string with a word in it, not {reference!r:.60}"
    return ""


def score(answers: Sequence[Any], references: Sequence[Any]) -> Result:
    """`answers` are `{"text": …}`; one that failed has said nothing."""
    import jiwer

    heard = ["" if one is None else " ".join(str(one["text"]).split()) for one in answers]
    said = [" ".join(reference.split()) for reference in references]
    wer, cer = float(jiwer.wer(said, heard)), float(jiwer.cer(said, heard))
    return Result(max(0.0, 1 - wer), {"wer": wer, "cer": cer})
