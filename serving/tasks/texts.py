"""What the tasks that read texts have in common: their requests, and texts as the ids and mask of tokens.

Apart from the tasks so that a text is cut and padded in one way, whatever is asked of it.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.config import ServingConfig, Text
from serving.errors import ModelError, RequestError
from serving.tasks.request import JSON, Body, Request, check_count, media_type, parse_json, unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.tasks.classification import Arrays

CONTENT_TYPES = (JSON, "text/plain")
REQUIREMENTS = ("numpy", "onnxruntime", "orjson", "tokenizers")


def encode(samples: Sequence[str], config: ServingConfig) -> Arrays:
    """Texts to `input_ids` and `attention_mask`, both int64 (batch, longest of the batch).

    Texts are cut at `max_length` tokens. Raises ModelError for a bad tokenizer.
    """
    encodings = tokenizer(config).encode_batch_fast(list(samples))
    if not encodings or not encodings[0].ids:
        raise RequestError(400, "the inputs hold no tokens")
    return {
        "input_ids": np.array([one.ids for one in encodings], dtype=np.int64),
        "attention_mask": np.array([one.attention_mask for one in encodings], dtype=np.int64),
    }


def decode_request(
    body: Body, content_type: str | None, config: ServingConfig, known: tuple[str, ...] = ("top_k",)
) -> Request:
    """The texts of a request, with those of the `known` parameters that it has. Raises RequestError."""
    kind = media_type(content_type)
    if kind == "text/plain":
        return Request([_decode(body)], single=True)
    if kind != JSON:
        raise unsupported(content_type, CONTENT_TYPES)
    inputs, parameters = parse_json(body, known)
    if isinstance(inputs, str):
        return Request([inputs], True, parameters)
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
        raise RequestError(400, "inputs must be a string or a list of strings")
    check_count(inputs)
    return Request(inputs, False, parameters)


def check_lengths(samples: Sequence[str], config: ServingConfig) -> None:
    """Raises RequestError for the first text that `encode` would cut."""
    for index, one in enumerate(tokenizer(config).encode_batch(list(samples))):
        if one.overflowing:
            limit = section(config).max_length
            raise RequestError(400, f"inputs[{index}] has more than {limit} tokens, and truncate is false")


def input_axes(config: ServingConfig) -> dict[str, dict[int, str]]:
    return {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask")}


def section(config: ServingConfig) -> Text:
    if config.text is None:
        raise ModelError("slipway.json: text: is missing")
    return config.text


def tokenizer(config: ServingConfig) -> Any:
    """The model's `tokenizers.Tokenizer`, which cuts at `max_length` and pads to the longest. Raises ModelError."""
    text = section(config)
    return _tokenizer(config.path(text.tokenizer), text.max_length)


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
