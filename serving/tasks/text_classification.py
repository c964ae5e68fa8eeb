"""The task text-classification: strings in, ranked labels out.

Requests: `application/json` `{"inputs": "text" | ["text", …], "parameters": {"top_k": n | null}}`, or `text/plain`.
Answers, as the Hugging Face inference toolkit gives them:

| request | answer |
|---|---|
| one text | `[{"label", "score"}]`: the best label |
| a list of texts | `[{"label", "score"}, …]`: the best label of each |
| one text, `top_k` given (null: every label) | `[{"label", "score"}, …]`, best first |
| a list of texts, `top_k` given | a list of such lists |
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.config import ServingConfig, Text
from serving.errors import ModelError, RequestError
from serving.tasks.classification import OUTPUTS, Arrays, Ranking, rank
from serving.tasks.request import (
    JSON,
    Body,
    Request,
    any_batch,
    chain,
    check_count,
    media_type,
    parse_json,
    unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTENT_TYPES = (JSON, "text/plain")
REQUIREMENTS = ("numpy", "onnxruntime", "orjson", "tokenizers")

batch_key, join = any_batch, chain


def encode(samples: Sequence[str], config: ServingConfig) -> Arrays:
    """Texts to `input_ids` and `attention_mask`, both int64 (batch, longest of the batch).

    Texts are cut at `max_length` tokens. Raises ModelError for a bad tokenizer.
    """
    tokenizer = _tokenizer(config.path(_section(config).tokenizer), _section(config).max_length)
    encodings = tokenizer.encode_batch_fast(list(samples))
    if not encodings or not encodings[0].ids:
        raise RequestError(400, "the inputs hold no tokens")
    return {
        "input_ids": np.array([one.ids for one in encodings], dtype=np.int64),
        "attention_mask": np.array([one.attention_mask for one in encodings], dtype=np.int64),
    }


def decode_request(body: Body, content_type: str | None, config: ServingConfig) -> Request:
    """The texts of a request. Raises RequestError."""
    kind = media_type(content_type)
    if kind == "text/plain":
        return Request([_decode(body)], single=True)
    if kind != JSON:
        raise unsupported(content_type, CONTENT_TYPES)
    inputs, parameters = parse_json(body)
    if isinstance(inputs, str):
        return Request([inputs], True, parameters)
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
        raise RequestError(400, "inputs must be a string or a list of strings")
    check_count(inputs)
    return Request(inputs, False, parameters)


def postprocess(outputs: Arrays, config: ServingConfig, top_k: int | None = 1) -> list[Ranking]:
    """For each text its `top_k` best labels, best first."""
    return rank(outputs, config, top_k)


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets; see the table above."""
    rankings = postprocess(outputs, config, request.parameters.get("top_k", 1))
    if "top_k" not in request.parameters:
        return [ranking[0] for ranking in rankings]
    return rankings[0] if request.single else rankings


def input_axes(config: ServingConfig) -> dict[str, dict[int, str]]:
    return {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask")}


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return OUTPUTS


def _section(config: ServingConfig) -> Text:
    if config.text is None:
        raise ModelError("slipway.json: text: is missing")
    return config.text


def _decode(body: Body) -> str:
    if isinstance(body, str):
        return body
    try:
        return bytes(body).decode()
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the text is not UTF-8 (byte {error.start})") from None


@functools.lru_cache(maxsize=8)
def _tokenizer(path: Path, max_length: int) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{path}: is not a tokenizer.json: {error}") from None
    # A file may bring padding to a fixed length, which would waste most of the model's work: keep only its token.
    padding = tokenizer.padding or {}
    pad = padding.get("pad_token") or next((t for t in ("[PAD]", "<pad>") if tokenizer.token_to_id(t) is not None), "")
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(
        direction=padding.get("direction", "right"),
        pad_id=padding.get("pad_id", tokenizer.token_to_id(pad) or 0),
        pad_token=pad,
        pad_type_id=padding.get("pad_type_id", 0),
    )
    return tokenizer
