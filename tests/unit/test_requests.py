"""Samples as requests: what serving decodes of them is what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_build import datasets
from model_build.spec import Spec
from serving.tasks import TASKS
from slipway.requests import answer_of_one, encode, named

SECTIONS: dict[str, dict[str, Any]] = {
    "text-classification": {"text": {"tokenizer": "t.json"}},
    "text-embedding": {"text": {"tokenizer": "t.json"}, "labels": []},
    "token-classification": {"text": {"tokenizer": "t.json"}},
    "speech-recognition": {"audio": {"sample_rate": 8000, "seconds": 0.1}},
    "image-classification": {"image": {"mode": "RGB", "size": [4, 5]}},
    "audio-classification": {"audio": {"sample_rate": 8000, "seconds": 0.1}},
    "object-detection": {"image": {"mode": "RGB", "size": [4, 5]}},
    "tabular": {"tabular": {"columns": [{"name": "x", "missing": "nan"}]}},
    "tensor": {"tensor": {"inputs": {"x": {"shape": [3]}, "n": {"shape": [], "dtype": "int64"}}}},
}


def spec(task: str, **changes: Any) -> Spec:
    values = {"name": "m", "task": task, "source": {"onnx": {"path": "m.onnx"}}, "labels": ["a", "b"]}
    return Spec.model_validate(values | SECTIONS[task] | changes)


@pytest.mark.parametrize(
    ("task", "sample", "kind", "tolerance"),
    [
        ("text-classification", 'Shares "fell" – märket', "application/json", 0),
        ("text-embedding", "Größe 😀", "application/json", 0),
        ("token-classification", "12 Elm Street", "application/json", 0),
        ("speech-recognition", np.sin(np.arange(500) / 9).astype(np.float32), "audio/wav", 1 / 32767),
        ("image-classification", np.arange(60, dtype=np.uint8).reshape(4, 5, 3), "image/png", 0),
        ("audio-classification", np.sin(np.arange(800) / 9).astype(np.float32), "audio/wav", 1 / 32767),
        ("object-detection", np.arange(60, dtype=np.uint8).reshape(4, 5, 3), "application/json", 0),
        ("tensor", {"x": np.array([0.1, 2, 3], np.float32), "n": np.array(7)}, "application/json", 1e-7),
    ],
)
def test_a_sample_comes_out_of_its_request_as_it_was(task: str, sample: Any, kind: str, tolerance: float) -> None:
    one = spec(task)
    body, content_type = encode(sample, one)
    assert content_type == kind
    (decoded,) = TASKS[task].decode_request(body, content_type, datasets.serving_config(one, Path.cwd())).samples
    if isinstance(sample, str):
        assert decoded == sample
    elif isinstance(sample, dict):
        for name, array in sample.items():
            np.testing.assert_allclose(decoded[name], array, atol=tolerance)
    else:
        np.testing.assert_allclose(decoded, sample, atol=tolerance)


def test_a_grey_picture_stays_grey() -> None:
    one = spec("image-classification", image={"mode": "L", "size": [4, 5]})
    body, kind = encode(np.full((4, 5), 9, np.uint8), one)
    (decoded,) = TASKS[one.task].decode_request(body, kind, datasets.serving_config(one, Path.cwd())).samples
    assert decoded.shape == (4, 5)


@pytest.mark.parametrize(
    ("task", "answer", "index"),
    [
        ("text-classification", [{"label": "b", "score": 0.9}], 1),
        ("image-classification", [[{"label": "a", "score": 0.9}, {"label": "b", "score": 0.1}]], 0),
        ("image-classification", [{"label": "unheard of", "score": 0.9}], None),
        ("image-classification", [], None),
        ("image-classification", {"error": "x"}, None),
        ("tabular", ["b"], 1),
        ("tabular", ["c"], None),
        ("tensor", {"outputs": {"y": [[0.1, 0.7, 0.2]]}}, 1),
    ],
)
def test_the_class_that_an_answer_puts_first_is_read(task: str, answer: Any, index: int | None) -> None:
    assert named(answer, spec(task)) == index


def test_a_row_goes_without_what_it_lacks() -> None:
    columns = [
        {"name": "kind", "type": "category", "categories": ["s", "l"], "missing": ""},
        {"name": "x", "missing": "nan"},
        {"name": "n", "type": "integer", "missing": 7},
    ]
    one = spec("tabular", tabular={"columns": columns})
    config = datasets.serving_config(one, Path.cwd())
    for sample in ({"kind": "l", "x": np.float32(0.5), "n": np.int64(3)}, {"kind": None, "x": float("nan"), "n": None}):
        body, kind = encode(sample, one)
        decoded = TASKS["tabular"].decode_request(body, kind, config).samples
        wanted = TASKS["tabular"].encode([sample], config)
        np.testing.assert_array_equal(TASKS["tabular"].encode(decoded, config)["features"], wanted["features"])


def test_the_answer_of_one_row_is_the_first() -> None:
    assert answer_of_one([2.5], spec("tabular", labels=[])) == 2.5


@pytest.mark.parametrize(
    ("task", "answer", "one"),
    [
        ("text-embedding", [[0.6, 0.8]], [0.6, 0.8]),
        ("token-classification", [{"entity_group": "ZIP"}], [{"entity_group": "ZIP"}]),
        ("speech-recognition", {"text": "one"}, {"text": "one"}),
    ],
)
def test_what_metrics_compare_is_found_in_the_answer_to_one_sample(task: str, answer: Any, one: Any) -> None:
    assert answer_of_one(answer, spec(task)) == one
