"""Spans of texts: how tokens become words and spans, and what a client gets of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_artifacts import KINDS, write_artifact

from serving import handler
from serving.config import ServingConfig
from serving.errors import ModelError, RequestError
from serving.tasks import token_classification
from serving.tasks.request import Request

TEXT = "The goal, match and  market shares goal"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("tokens") / "artifact", "token-classification", code=False)


@pytest.fixture(scope="module")
def config(artifact: Path) -> ServingConfig:
    return ServingConfig.read(artifact)


def asked(artifact: Path, inputs: Any, **parameters: Any) -> Any:
    model = handler.model_fn(str(artifact))
    body = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    request = token_classification.decode_request(body, "application/json", model.config)
    return json.loads(handler.output_fn(handler.predict_fn(request, model), None))


def brief(spans: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(span.get("entity_group", span.get("entity")), span["word"], span["start"], span["end"]) for span in spans]


def share(logit: float) -> float:
    return float(np.exp(logit) / (np.exp(logit) + 4))


def test_neighbours_of_one_kind_are_a_span_of_the_clients_own_text(artifact: Path) -> None:
    found = asked(artifact, TEXT)
    # The comma is nothing, so that goal and match are two; a span quotes what stands between its ends.
    assert brief(found) == [
        ("SPORT", "goal", 4, 8),
        ("SPORT", "match", 10, 15),
        ("MONEY", "market shares", 21, 34),
        ("SPORT", "goal", 35, 39),
    ]
    assert found[2]["score"] == pytest.approx((share(4) + share(2)) / 2, rel=1e-6)
    assert found[2].keys() == {"entity_group", "score", "word", "start", "end"}


def test_a_new_span_begins_with_its_b_even_beside_one_of_its_kind(artifact: Path) -> None:
    assert brief(asked(artifact, "goal goal match")) == [("SPORT", "goal", 0, 4), ("SPORT", "goal match", 5, 15)]


def test_tokens_come_alone_where_asked(artifact: Path) -> None:
    found = asked(artifact, "The goal match", aggregation_strategy="none")
    assert brief(found) == [("B-SPORT", "goal", 4, 8), ("I-SPORT", "match", 9, 14)]
    assert [one["index"] for one in found] == [1, 2]


def test_a_list_of_texts_gets_a_list_of_lists_in_order(artifact: Path) -> None:
    found = asked(artifact, ["nothing", "goal", "a much longer text with a match"])
    assert [brief(spans) for spans in found] == [[], [("SPORT", "goal", 0, 4)], [("SPORT", "match", 26, 31)]]
    assert asked(artifact, ["goal"]) == [asked(artifact, "goal")]


def test_a_text_gets_the_same_spans_beside_a_longer_one_of_another_request(artifact: Path) -> None:
    model = handler.model_fn(str(artifact))
    answers = handler.predict_all([Request(["market shares"], True), Request([TEXT], True)], model)
    assert answers is not None
    assert json.loads(json.dumps(answers)) == [asked(artifact, "market shares"), asked(artifact, TEXT)]


def test_of_what_is_cut_nothing_is_said(artifact: Path) -> None:
    assert brief(asked(artifact, "x " * 7 + "goal match")) == [("SPORT", "goal", 14, 18)]  # max_length is 8


def test_characters_are_counted_and_not_bytes(artifact: Path) -> None:
    assert brief(asked(artifact, "Größe 😀 goal")) == [("SPORT", "goal", 8, 12)]


SUBWORDS = {"[PAD]": 0, "[UNK]": 1, "new": 2, "##market": 3, "##s": 4, "x": 5}


@pytest.fixture
def pieces(tmp_path: Path, config: ServingConfig) -> ServingConfig:
    """A configuration whose tokenizer cuts `newmarkets` into three tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(SUBWORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return replace(config, directory=tmp_path)


def scores(*tokens: dict[str, float]) -> np.ndarray:
    """Logits (1, tokens, kinds) of these shares; what is not named has next to none."""
    rows = [[np.log(token.get(kind, 1e-6)) for kind in KINDS] for token in tokens]
    return np.array([rows], np.float32)


@pytest.mark.parametrize(
    ("strategy", "found"),
    [
        ("simple", [("SPORT", "new", 0, 3), ("MONEY", "market", 3, 9)]),
        ("first", [("SPORT", "newmarkets", 0, 10)]),
        ("max", [("MONEY", "newmarkets", 0, 10)]),
        ("average", [("MONEY", "newmarkets", 0, 10)]),
        ("none", [("B-SPORT", "new", 0, 3), ("B-MONEY", "market", 3, 9)]),
    ],
)
def test_words_of_several_tokens_are_labelled_by_the_strategy(
    strategy: str, found: list[Any], pieces: ServingConfig
) -> None:
    logits = scores({"B-SPORT": 0.6, "O": 0.4}, {"B-MONEY": 0.9, "O": 0.1}, {"O": 0.5, "B-MONEY": 0.3}, {"O": 1.0})
    (spans,) = token_classification.postprocess({"logits": logits}, ["newmarkets x"], pieces, strategy)
    assert brief(spans) == found


def test_the_average_is_that_of_the_shares(pieces: ServingConfig) -> None:
    logits = scores({"B-SPORT": 0.9, "O": 0.1}, {"O": 0.8, "B-SPORT": 0.2}, {"O": 0.8, "B-SPORT": 0.2})
    assert token_classification.postprocess({"logits": logits}, ["newmarkets"], pieces, "average") == [[]]


def test_labels_without_a_prefix_are_kinds_themselves(config: ServingConfig) -> None:
    one = replace(config, labels=("O", "NOUN", "VERB"))
    logits = np.eye(3, dtype=np.float32)[[[1, 1, 2, 0]]]
    (spans,) = token_classification.answers({"logits": logits}, ["goal match market x"], one)
    assert brief(spans) == [("NOUN", "goal match", 0, 10), ("VERB", "market", 11, 17)]


def test_a_padding_on_the_left_moves_the_rows(tmp_path: Path, config: ServingConfig) -> None:
    values = json.loads(config.path("tokenizer.json").read_text())
    values["padding"]["direction"] = "Left"
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    logits = np.zeros((1, 5, 5), np.float32)
    logits[0, :, 0] = 1
    logits[0, 3:, 1] = 3  # of five columns the last two are the text's
    (spans,) = token_classification.answers({"logits": logits}, ["goal match"], replace(config, directory=tmp_path))
    assert [span["word"] for span in spans] == ["goal", "match"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"aggregation_strategy": "best"}, "must be one of simple, none, first, average, max, not 'best'"),
        ({"aggregation_strategy": None}, "not None"),
        ({"aggregation_strategy": ["simple"]}, "must be one of"),
        ({"stride": 1}, "unknown parameter 'stride'; known: aggregation_strategy"),
    ],
)
def test_parameters_that_are_none_are_refused(artifact: Path, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        asked(artifact, "goal", **parameters)


@pytest.mark.parametrize("logits", [np.zeros((1, 5)), np.zeros((1, 4, 3)), np.full((1, 4, 5), np.nan)])
def test_logits_that_label_no_tokens_are_the_models_fault(logits: np.ndarray, config: ServingConfig) -> None:
    with pytest.raises(ModelError, match="logits"):
        token_classification.answers({"logits": logits}, ["goal"], config)


def test_a_model_that_labels_too_few_tokens_is_told(config: ServingConfig) -> None:
    with pytest.raises(ModelError, match="labels 1 tokens of a text that has 2"):
        token_classification.answers({"logits": np.zeros((1, 1, 5))}, ["goal match"], config)
