"""Requests and answers in a few words, and what a user is told when an endpoint says no."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from model_build.errors import UserError
from slipway.invoke import answered, content_type, predict, shown


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([{"label": "sports", "score": 0.98765}], "sports (0.988)"),
        ([[{"label": "a", "score": 0.6}, {"label": "b", "score": 0.4}]], "a (0.600)"),
        (
            [{"entity_group": "NAME", "word": "Acme"}, {"entity_group": "CITY", "word": "Rome"}],
            "Acme (name), Rome (city)",
        ),
        ([["Adelie"]], "Adelie"),
        ([{"generated_text": "deux"}], "deux"),
        ([[0.25, 0.5]], "[[0.25, 0.5]]"),
        ({"outputs": {"y": [1, 2]}}, '{"outputs": {"y": [1, 2]}}'),
    ],
)
def test_a_prediction_is_told_by_its_best_label_or_its_json(answer: Any, expected: str) -> None:
    assert answered(answer) == expected


def test_a_long_request_is_cut_and_a_binary_one_is_told_by_its_file() -> None:
    body = json.dumps({"inputs": "word " * 100}).encode()
    assert len(shown(body, "application/json", "sample.json")) == 60
    assert shown(b"\x89PNG", "image/png", "shirt.png") == "shirt.png (4 bytes)"


def test_a_file_without_a_known_ending_names_those_that_are_known() -> None:
    assert content_type(Path("a/B.WAV")) == "audio/wav"
    with pytest.raises(UserError, match=r"no content type is known for '\.xyz'"):
        content_type(Path("a.xyz"))


class Runtime:
    def __init__(self, error: dict[str, Any]) -> None:
        self.error = error

    def invoke_endpoint(self, **_: Any) -> Any:
        raise ClientError(self.error, "InvokeEndpoint")  # type: ignore[arg-type]


def test_what_the_model_said_is_told_before_what_aws_says_about_it() -> None:
    error = {
        "Error": {"Code": "ModelError", "Message": "Received client error (400)"},
        "OriginalMessage": "inputs missing",
    }
    with pytest.raises(UserError, match="x-local: ModelError: inputs missing"):
        predict(Runtime(error), "x-local", b"{}", "application/json")


def test_an_unknown_endpoint_is_told_in_aws_words() -> None:
    error = {"Error": {"Code": "ValidationError", "Message": "Endpoint x-local not found."}}
    with pytest.raises(UserError, match="ValidationError: Endpoint x-local not found"):
        predict(Runtime(error), "x-local", b"{}", "application/json")
