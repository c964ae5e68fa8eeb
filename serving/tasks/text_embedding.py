"""The task text-embedding: strings in, a vector for each out.

Requests: `application/json` `{"inputs": "text" | ["text", …], "parameters": {…}}`, or `text/plain`. Answers, as the
Hugging Face servers of embeddings give them: `[[number, …], …]`, a vector for each text, one text's in a list too; or
`application/x-npy`, float32 (texts, dimension), if the client accepts that.

| parameter | default | |
|---|---|---|
| `normalize` | true | vectors of length 1, so that their dot product is the cosine; false: as the model gives them |
| `truncate` | true | a text is cut at `max_length` tokens; false: one that is longer is refused |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from serving.errors import ModelError, RequestError
from serving.tasks import texts
from serving.tasks.request import Body, Request, any_batch, chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.config import ServingConfig
    from serving.tasks.classification import Arrays

CONTENT_TYPES, REQUIREMENTS = texts.CONTENT_TYPES, texts.REQUIREMENTS
OUTPUTS = ("embeddings",)
PARAMETERS = ("normalize", "truncate")

batch_key, join = any_batch, chain
encode, input_axes = texts.encode, texts.input_axes


def decode_request(body: Body, content_type: str | None, config: ServingConfig) -> Request:
    """The texts of a request. Raises RequestError."""
    request = texts.decode_request(body, content_type, config, PARAMETERS)
    for name, value in request.parameters.items():
        if not isinstance(value, bool):
            raise RequestError(400, f"{name} must be true or false, not {value!r:.40}")
    if not request.parameters.get("truncate", True):
        texts.check_lengths(request.samples, config)
    return request


def postprocess(outputs: Arrays, config: ServingConfig, normalize: bool = True) -> list[list[float]]:
    """For each text its vector."""
    vectors: list[list[float]] = _vectors(outputs, normalize).tolist()
    return vectors


def answers(outputs: Arrays, samples: Sequence[Any], config: ServingConfig) -> list[list[float]]:
    """For each text its vector of length 1."""
    return postprocess(outputs, config)


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """float32 (texts, dimension)."""
    return _vectors(outputs, request.parameters.get("normalize", True))


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return OUTPUTS


def _vectors(outputs: Arrays, normalize: bool) -> np.ndarray[Any, Any]:
    """float32 (texts, dimension). Raises ModelError where the model's output is no vector for each text."""
    (name,) = OUTPUTS
    vectors = outputs[name].astype(np.float32, copy=False)
    if vectors.ndim != 2:
        raise ModelError(f"the model's embeddings have shape {vectors.shape}, not (batch, dimension)")
    if not np.isfinite(vectors).all():
        raise ModelError("the model's embeddings are not finite for this input")
    if normalize:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors
