"""Frames to texts by CTC: paths decoded by hand, and requests through the handler."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_artifacts import SYMBOLS, npy, wav, write_artifact

from serving import handler
from serving.config import Ctc, ServingConfig
from serving.errors import ModelError, RequestError
from serving.tasks import speech_recognition
from serving.tasks.request import Request


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("speech") / "artifact", "speech-recognition", code=False)


@pytest.fixture(scope="module")
def config(artifact: Path) -> ServingConfig:
    return ServingConfig.read(artifact)


def sound(frames: str) -> np.ndarray:
    """What the tiny model hears as these symbols, one each of ten frames; `_` is the blank."""
    levels = [("_|ab".index(symbol)) / 10 for symbol in frames]
    return np.repeat(np.array(levels, np.float32), 200)


def outputs(*paths: str, labels: list[str] = SYMBOLS) -> dict[str, np.ndarray]:
    names = ["_", *labels[1:]]
    return {"logits": np.stack([np.eye(len(names), dtype=np.float32)[[names.index(one) for one in p]] for p in paths])}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("__________", ""),
        ("aabb______", "ab"),
        ("aa_a______", "aa"),  # a blank between makes two of them
        ("ab|ba_____", "ab ba"),
        ("|ab||_|ba|", "ab ba"),  # delimiters in a row are one space, and none at the ends
        ("||||||||||", ""),
        ("bbbbbbbbbb", "b"),
        ("_a_|_b_|__", "a b"),
    ],
)
def test_a_path_is_read_as_ctc_defines(path: str, text: str, config: ServingConfig) -> None:
    assert speech_recognition.answers(outputs(path), [None], config) == [{"text": text}]


def test_symbols_of_the_vocabulary_itself_are_no_text(config: ServingConfig) -> None:
    labels = ["<blank>", "<s>", "[UNK]", "<", "a"]
    one = replace(config, labels=tuple(labels), ctc=Ctc())
    logits = np.eye(5, dtype=np.float32)[[4, 1, 4, 2, 3, 4]][None]
    assert speech_recognition.postprocess({"logits": logits}, one) == [{"text": "aa<a"}]


def test_the_blank_and_the_delimiter_may_be_others(config: ServingConfig) -> None:
    one = replace(config, labels=("a", "b", " ", ""), ctc=Ctc(blank=3, word_delimiter=" "))
    logits = np.eye(4, dtype=np.float32)[[0, 3, 0, 2, 1, 2, 3]][None]
    assert speech_recognition.postprocess({"logits": logits}, one) == [{"text": "aa b"}]


def test_a_delimiter_within_a_symbol_is_a_space_too(config: ServingConfig) -> None:
    one = replace(config, labels=("<blank>", "▁on", "e", "▁two"), ctc=Ctc(word_delimiter="▁"))
    logits = np.eye(4, dtype=np.float32)[[0, 1, 1, 2, 0, 3, 0, 3, 0, 0]][None]
    (found,) = speech_recognition.postprocess({"logits": logits}, one, "word")
    assert found["text"] == "one two two"
    assert [chunk["timestamp"] for chunk in found["chunks"]] == [[0.025, 0.1], [0.125, 0.15], [0.175, 0.2]]


def test_times_are_those_of_the_frames(config: ServingConfig) -> None:
    # 0.25 s in ten frames: 25 ms each.
    (one,) = speech_recognition.postprocess(outputs("_aab_||b__"), config, "word")
    assert one == {
        "text": "ab b",
        "chunks": [{"text": "ab", "timestamp": [0.025, 0.1]}, {"text": "b", "timestamp": [0.175, 0.2]}],
    }
    (one,) = speech_recognition.postprocess(outputs("_aab_||b__"), config, "char")
    assert [chunk["text"] for chunk in one["chunks"]] == ["a", "b", " ", "b"]
    assert one["chunks"][0]["timestamp"] == [0.025, 0.075]


def test_every_form_of_a_request_is_heard_the_same(artifact: Path) -> None:
    model = handler.model_fn(str(artifact))
    clip = sound("aa_ab|bb__")
    file = wav(clip, 8000)
    for body, kind in (
        (file, "audio/wav"),
        (json.dumps({"inputs": base64.b64encode(file).decode()}).encode(), "application/json"),
        (npy(clip), "application/x-npy"),
    ):
        request = speech_recognition.decode_request(body, kind, model.config)
        assert handler.predict_fn(request, model) == {"text": "aab b"}
    many = speech_recognition.decode_request(npy(np.stack([clip, sound("b" * 10)])), "application/x-npy", model.config)
    assert handler.predict_fn(many, model) == [{"text": "aab b"}, {"text": "b"}]


def test_what_is_beyond_the_models_length_is_not_heard(artifact: Path) -> None:
    model = handler.model_fn(str(artifact))
    long = np.concatenate([sound("a" * 10), sound("b" * 10)])
    assert handler.predict_fn(Request([long], True), model) == {"text": "a"}
    assert handler.predict_fn(Request([sound("a" * 10)[:400]], True), model) == {"text": "a"}


def dumps(**parameters: Any) -> bytes:
    file = base64.b64encode(wav(sound("ab________"), 8000)).decode()
    return json.dumps({"inputs": file, "parameters": parameters}).encode()


@pytest.mark.parametrize("off", [{}, {"return_timestamps": False}, {"return_timestamps": None}])
def test_times_come_only_where_asked(artifact: Path, off: dict[str, Any]) -> None:
    model = handler.model_fn(str(artifact))
    request = speech_recognition.decode_request(dumps(**off), "application/json", model.config)
    assert handler.predict_fn(request, model) == {"text": "ab"}
    asked = speech_recognition.decode_request(dumps(return_timestamps="word"), "application/json", model.config)
    answers = handler.predict_all([request, asked], model)
    assert answers is not None
    assert answers[0] == {"text": "ab"}
    assert answers[1] == {"text": "ab", "chunks": [{"text": "ab", "timestamp": [0.0, 0.05]}]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"return_timestamps": True}, 'must be false, "word" or "char", not True'),
        ({"return_timestamps": 0}, 'must be false, "word" or "char", not 0'),
        ({"return_timestamps": "line"}, "not 'line'"),
        ({"return_timestamps": []}, r"not \[\]"),
        ({"top_k": 2}, "unknown parameter 'top_k'; known: return_timestamps"),
    ],
)
def test_parameters_that_are_none_are_refused(config: ServingConfig, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        speech_recognition.decode_request(dumps(**parameters), "application/json", config)


@pytest.mark.parametrize("logits", [np.zeros((1, 4)), np.zeros((1, 10, 3)), np.full((1, 10, 4), np.nan)])
def test_logits_that_name_no_symbols_are_the_models_fault(logits: np.ndarray, config: ServingConfig) -> None:
    with pytest.raises(ModelError, match="logits"):
        speech_recognition.answers({"logits": logits}, [None], config)
