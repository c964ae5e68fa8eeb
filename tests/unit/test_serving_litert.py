"""LiteRT models behind the session that the handler uses: batches, padding, types, threads, and what cannot be run."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import litert_models
import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import TensorType
from serving_artifacts import LABELS, MATRIX, SECTIONS, tokenizer_json

from serving import handler, litert
from serving.errors import ModelError, RequestError

FLOAT, INT = TensorType.FLOAT32, TensorType.INT32
COLUMN = np.arange(1, 9, dtype=np.float32)[:, None]
"""Weighs the eight places of a text, so that what was padded shows."""


@pytest.fixture
def product(tmp_path: Path) -> litert.Session:
    return litert.Session(litert_models.write(tmp_path / "m.tflite", ({"x": ((1, 3), FLOAT)}, "output", MATRIX)), 1)


def write_text(path: Path, *lengths: int, column: np.ndarray = COLUMN) -> Path:
    """Sums a text's masked tokens, each times its place; each layout adds its own length as the second output."""
    signatures: list[Any] = []
    for length in lengths:
        inputs = dict.fromkeys(("input_ids", "attention_mask"), ((1, length), INT))
        matrix = np.hstack([column[:length], np.full((length, 1), length, np.float32)])
        signatures.append((inputs, "logits", matrix))
    return litert_models.write(path, *signatures)


def texts(*rows: list[int]) -> dict[str, np.ndarray]:
    return {"input_ids": np.array(rows, np.int64), "attention_mask": np.ones((len(rows), len(rows[0])), np.int64)}


def test_a_model_of_one_sample_answers_a_batch(product: litert.Session) -> None:
    batch = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    (answer,) = product.run(["output"], {"x": batch})
    assert answer == pytest.approx(batch @ MATRIX, rel=1e-5)
    assert [(one.name, one.shape) for one in product.get_inputs()] == [("x", (1, 3))]
    assert [one.name for one in product.get_outputs()] == ["output"]


def test_a_shorter_text_is_filled_up_with_zeros_and_narrowed_to_32_bits(tmp_path: Path) -> None:
    session = litert.Session(write_text(tmp_path / "m.tflite", 8), 1)
    (answer,) = session.run(["logits"], texts([5, 1, 2], [7, 0, 0]))
    assert answer.tolist() == [[5 + 2 + 6, 8 * 8], [7, 7 * 8]]


def test_a_text_runs_in_the_smallest_layout_that_holds_it(tmp_path: Path) -> None:
    session = litert.Session(write_text(tmp_path / "m.tflite", 8, 2, 4), 1)  # in no order
    for length, layout in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8)):
        (answer,) = session.run(["logits"], texts([1] * length))
        assert answer[0].tolist() == [length * (length + 1) / 2, length * layout]


def test_a_text_beyond_the_largest_layout_is_refused_with_its_shape(tmp_path: Path) -> None:
    session = litert.Session(write_text(tmp_path / "m.tflite", 4), 1)
    with pytest.raises(ModelError, match=r"laid out for smaller inputs than input_ids \(1, 5\)"):
        session.run(["logits"], texts([1] * 5))


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
def test_a_number_that_32_bits_cannot_hold_is_refused_instead_of_wrapped(tmp_path: Path, number: int) -> None:
    session = litert.Session(write_text(tmp_path / "m.tflite", 4), 1)
    with pytest.raises(RequestError, match="input_ids: numbers beyond -2147483648 to 2147483647") as caught:
        session.run(["logits"], texts([number]))
    assert caught.value.status_code == 400


def test_threads_that_ask_at_once_each_get_their_own_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert, "usable_cores", lambda: 3)
    matrix = np.eye(64, dtype=np.float32)
    path = litert_models.write(tmp_path / "m.tflite", ({"x": ((1, 64), FLOAT)}, "output", matrix))
    session = litert.Session(path, 1)
    opened: list[Any] = []
    before: Callable[[], Any] = session._open
    monkeypatch.setattr(session, "_open", lambda: opened.append(1) or before())

    def ask(number: int) -> bool:
        batch = np.full((4, 64), number, np.float32)
        return bool((session.run(["output"], {"x": batch})[0] == number).all())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(200)))
    assert len(opened) <= 2, "one for each core, the first included"


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"TFL3 no flatbuffer")
    with pytest.raises(ModelError, match=r"m\.tflite: cannot be loaded by LiteRT"):
        litert.Session(path, 1)


def test_a_model_of_several_samples_is_refused(tmp_path: Path) -> None:
    path = litert_models.write(tmp_path / "m.tflite", ({"x": ((2, 3), FLOAT)}, "output", MATRIX))
    with pytest.raises(ModelError, match=r"its input x has the shape \(2, 3\); the first axis must be 1"):
        litert.Session(path, 1)


def test_a_model_without_signatures_is_refused(tmp_path: Path) -> None:
    path = litert_models.write(tmp_path / "m.tflite", ({"x": ((1, 3), FLOAT)}, "output", MATRIX), named=False)
    with pytest.raises(ModelError, match="has no signatures"):
        litert.Session(path, 1)


def test_a_missing_runtime_is_named_with_where_its_version_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = litert_models.write(tmp_path / "m.tflite", ({"x": ((1, 3), FLOAT)}, "output", MATRIX))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ModelError, match=r"needs the package ai-edge-litert.*code/requirements\.txt has its version"):
        litert.Session(path, 1)


def test_the_handler_serves_an_artifact_with_a_litert_model(tmp_path: Path) -> None:
    write_text(tmp_path / "model.tflite", 8, column=COLUMN / 1000)
    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    names = ("model.tflite", "tokenizer.json")
    values = {"format": 1, "name": "tiny", "task": "text-classification", "labels": LABELS, "model": "model.tflite"}
    values["files"] = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names}
    (tmp_path / "slipway.json").write_text(json.dumps(values | SECTIONS["text-classification"]))
    model = handler.model_fn(str(tmp_path))
    request = handler.TASKS["text-classification"].decode_request(
        b'{"inputs": ["goal", "market shares goal"]}', "application/json", model.config
    )
    answers = handler.predict_fn(request, model)
    assert [one["label"] for one in answers] == ["business", "business"]
    logits = np.array([2 / 1000, 16])  # one token of the number 2
    assert answers[0]["score"] == pytest.approx(1 / (1 + np.exp(logits[0] - logits[1])), rel=1e-6)
