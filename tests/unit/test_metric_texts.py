"""BLEU, chrF and ROUGE: published and hand-counted values, references of several texts, and answers that failed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from model_build.metrics import OF_TASK, bleu, chrf, rouge

TEXTS = ["The cat is on the mat.", "There is a dog in the garden."]
METRICS: list[Any] = [bleu, chrf, rouge]


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_wanted_scores_one_and_nothing_scores_none(metric: Any) -> None:
    assert metric.score(TEXTS, TEXTS).value == pytest.approx(1)
    assert metric.score([None, ""], TEXTS).value < 0.02
    half = metric.score([TEXTS[0], None], TEXTS)
    assert 0 < half.value < 1
    assert all(0 <= figure <= 100 for figure in half.details.values())


def test_bleu_is_the_mean_of_shared_phrases_times_the_penalty_of_short_answers() -> None:
    answer = ["the cat sat on the mat today"]
    found = bleu.score(answer, ["the cat sat on the red mat today"])
    # 7/7 words, 5/6, 3/5 and 2/4 phrases; 7 words where 8 are wanted.
    wanted = math.exp(1 - 8 / 7) * (1 * 5 / 6 * 3 / 5 * 2 / 4) ** 0.25
    assert found.value == pytest.approx(wanted, abs=1e-6)
    assert found.details == {"bleu": pytest.approx(100 * wanted, abs=1e-4)}


def test_rouge_counts_words_pairs_and_the_longest_common_row() -> None:
    # Lin 2004, section 3.1: "police killed the gunman" beside two answers.
    reference = ["police killed the gunman"]
    assert rouge.score(["police kill the gunman"], reference).details["rougeL"] == pytest.approx(75)
    found = rouge.score(["the gunman kill police"], reference)
    assert found.value == pytest.approx(0.5)
    assert found.details == {"rouge1": 75, "rouge2": pytest.approx(100 / 3), "rougeL": 50}


def test_letters_of_every_script_count() -> None:
    assert rouge.score(["déjà vu"], ["dejà vu"]).value == pytest.approx(0.5)
    assert rouge.score(["привет мир"], ["привет"]).details["rouge1"] == pytest.approx(200 / 3)


@pytest.mark.parametrize("metric", METRICS)
def test_one_of_several_references_is_enough(metric: Any) -> None:
    references = [["Something else entirely here.", TEXTS[0]], TEXTS[1]]
    assert metric.score(TEXTS, references).value == pytest.approx(1)


def test_an_ending_that_is_wrong_costs_chrf_less_than_bleu() -> None:
    answer, reference = ["the cats sits on a mat"], ["the cat sits on a mat"]
    assert chrf.score(answer, reference).value > bleu.score(answer, reference).value


@pytest.mark.parametrize("metric", METRICS)
def test_references_are_texts(metric: Any) -> None:
    assert metric.problem("a", ()) == metric.problem(["a", "b"], ()) == ""
    for wrong in (3, "", [], [""], ["a", 3], None):
        assert "must be the text" in metric.problem(wrong, ())


def test_translations_are_scored_by_bleu_unless_a_spec_says_otherwise() -> None:
    assert OF_TASK["text-generation"] == ("bleu", "chrf", "rouge")
