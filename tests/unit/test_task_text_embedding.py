"""Vectors of texts: what parameters change, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_artifacts import WORDS, write_artifact

from serving import handler
from serving.config import ServingConfig
from serving.errors import ModelError, RequestError
from serving.tasks import text_embedding
from serving.tasks.request import Request

TEXTS = ["goal match", "market", "shares"]
SUMS = np.array([WORDS[2] + WORDS[3], WORDS[4], WORDS[5]])
UNIT = SUMS / np.linalg.norm(SUMS, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("embedding") / "artifact", "text-embedding", code=False)


@pytest.fixture(scope="module")
def config(artifact: Path) -> ServingConfig:
    return ServingConfig.read(artifact)


def asked(artifact: Path, inputs: Any, accept: str = "application/json", **parameters: Any) -> bytes:
    model = handler.model_fn(str(artifact))
    body = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    request = text_embedding.decode_request(body, "application/json", model.config)
    return handler.output_fn(handler.predict_fn(request, model), accept)


def test_each_text_gets_a_vector_of_length_1(artifact: Path) -> None:
    np.testing.assert_allclose(json.loads(asked(artifact, TEXTS)), UNIT, rtol=1e-6)


def test_one_text_gets_its_vector_in_a_list(artifact: Path) -> None:
    np.testing.assert_allclose(json.loads(asked(artifact, TEXTS[0])), UNIT[:1], rtol=1e-6)


def test_vectors_come_as_the_model_gives_them_where_asked(artifact: Path) -> None:
    np.testing.assert_allclose(json.loads(asked(artifact, TEXTS, normalize=False)), SUMS, rtol=1e-6)


def test_vectors_come_as_one_array_where_asked(artifact: Path) -> None:
    array = np.load(io.BytesIO(asked(artifact, TEXTS, "application/x-npy")), allow_pickle=False)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, UNIT, rtol=1e-6)


def test_a_text_that_is_too_long_is_cut_or_refused_as_asked(artifact: Path) -> None:
    cut = json.loads(asked(artifact, "goal " * 9, normalize=False))
    np.testing.assert_allclose(cut, [WORDS[2] * 8], rtol=1e-6)  # max_length is 8
    np.testing.assert_allclose(json.loads(asked(artifact, "goal " * 8, truncate=False)), [[2, -1]] / np.sqrt(5), 1e-6)
    with pytest.raises(RequestError, match=r"inputs\[1\] has more than 8 tokens, and truncate is false"):
        asked(artifact, ["goal", "goal " * 9], truncate=False)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"normalize": 1}, "normalize must be true or false, not 1"),
        ({"truncate": "yes"}, "truncate must be true or false, not 'yes'"),
        ({"top_k": 1}, "unknown parameter 'top_k'; known: normalize, truncate"),
    ],
)
def test_parameters_that_are_none_are_refused(artifact: Path, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        asked(artifact, "goal", **parameters)


def test_a_text_alone_is_a_request(config: ServingConfig) -> None:
    request = text_embedding.decode_request("größer".encode(), "text/plain; charset=utf-8", config)
    assert (request.samples, request.single) == (["größer"], True)


def test_requests_of_other_parameters_share_a_pass_and_keep_their_own(artifact: Path) -> None:
    model = handler.model_fn(str(artifact))
    requests = [Request([TEXTS[0]], True), Request([TEXTS[0]], True, {"normalize": False})]
    assert text_embedding.batch_key(requests[0]) == text_embedding.batch_key(requests[1])
    answers = handler.predict_all(requests, model)
    assert answers is not None
    np.testing.assert_allclose(answers[0], UNIT[:1], rtol=1e-6)
    np.testing.assert_allclose(answers[1], SUMS[:1], rtol=1e-6)


def test_metrics_see_what_a_client_gets(config: ServingConfig) -> None:
    found = text_embedding.answers({"embeddings": SUMS}, TEXTS, config)
    np.testing.assert_allclose(found, UNIT, rtol=1e-6)
    assert json.dumps(found)


def test_a_vector_of_zeros_stays_one(config: ServingConfig) -> None:
    assert text_embedding.postprocess({"embeddings": np.zeros((1, 3))}, config) == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [(np.zeros((1, 2, 3)), r"shape \(1, 2, 3\), not \(batch, dimension\)"), (np.array([[np.nan]]), "not finite")],
)
def test_what_is_no_vector_is_the_models_fault(embeddings: Any, message: str, config: ServingConfig) -> None:
    with pytest.raises(ModelError, match=message):
        text_embedding.answer({"embeddings": embeddings}, Request(["x"], True), config)
