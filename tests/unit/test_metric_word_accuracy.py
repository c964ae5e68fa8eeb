"""1 − WER: cases counted by hand, and what must hold of any."""

from __future__ import annotations

import pytest

from model_build.metrics import word_accuracy


def score(said: list[str], heard: list[str | None]) -> tuple[float, float, float]:
    result = word_accuracy.score([None if text is None else {"text": text} for text in heard], said)
    return result.value, result.details["wer"], result.details["cer"]


@pytest.mark.parametrize(
    ("said", "heard", "wer"),
    [
        (["one two three"], ["one two three"], 0),
        (["one two three"], ["one too three"], 1 / 3),  # replaced
        (["one two three"], ["one three"], 1 / 3),  # left out
        (["one two three"], ["one two two three"], 1 / 3),  # added
        (["one two three", "four"], ["one two three", "five six"], 2 / 4),  # of all words, not the mean of samples
        (["  one   two "], [" one two  "], 0),
        (["One"], ["one"], 1),
        (["one two"], [""], 1),
        (["one two", "three"], [None, "three"], 2 / 3),
    ],
)
def test_word_errors_are_counted_as_defined(said: list[str], heard: list[str | None], wer: float) -> None:
    assert score(said, heard)[:2] == pytest.approx((1 - wer, wer))


def test_more_errors_than_words_are_no_negative_score() -> None:
    assert score(["one"], ["two three four"])[:2] == (0, 3)


def test_characters_are_counted_too() -> None:
    assert score(["nine"], ["none"])[2] == pytest.approx(1 / 4)


@pytest.mark.parametrize(
    ("reference", "good"), [("one", True), (" one two", True), ("", False), ("  ", False), (3, False), (None, False)]
)
def test_references_are_texts_with_a_word(reference: object, good: bool) -> None:
    assert (word_accuracy.problem(reference, ()) == "") is good
