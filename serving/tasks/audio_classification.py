"""The task audio-classification: sound in, ranked labels out.

Requests: a WAV file (`audio/wav`, `audio/x-wav`), `application/json` `{"inputs": base64 | [base64, …]}` of WAV files,
or `application/x-npy` of float32 in −1…1 at the model's sample rate, (time,) or (batch, time). Answers: the five best
labels `[{"label", "score"}, …]`, or `top_k` of them (null: every one); a list of those for a list of clips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from serving.config import Audio, ServingConfig
from serving.errors import ModelError, RequestError
from serving.sound import log_mel, read_wav
from serving.tasks.arrays import parse_npy
from serving.tasks.classification import OUTPUTS, Arrays, Ranking, rank
from serving.tasks.request import (
    JSON,
    NPY,
    Body,
    Request,
    any_batch,
    chain,
    check_count,
    media_type,
    parse_base64,
    parse_json,
    unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

WAV_TYPES = ("audio/wav", "audio/x-wav")
CONTENT_TYPES = (*WAV_TYPES, JSON, NPY)
REQUIREMENTS = ("numpy", "onnxruntime", "orjson", "soxr")

Signal = np.ndarray[Any, Any]

batch_key, join = any_batch, chain


def encode(samples: Sequence[Signal], config: ServingConfig) -> Arrays:
    """float32 (time,) in −1…1 at the configured rate, of any length, to the model's input.

    Each is cut, or padded with silence at its end, to `seconds`. `waveform`: float32 (batch, time); `log_mel`:
    `features`, float32 (batch, mels, frames), see `serving.sound.log_mel`.
    """
    audio = _section(config)
    clips = np.zeros((len(samples), audio.length), np.float32)
    for row, sample in zip(clips, samples, strict=True):
        row[: len(sample)] = sample[: audio.length]
    if audio.features == "waveform":
        return {"waveform": clips}
    return {"features": log_mel(clips, audio.sample_rate, audio.mels, audio.window, audio.hop)}


def decode_request(
    body: Body, content_type: str | None, config: ServingConfig, known: tuple[str, ...] = ("top_k",)
) -> Request:
    """The clips of a request, at the configured rate, and its `known` parameters. Raises RequestError."""
    audio = _section(config)
    kind = media_type(content_type)
    if kind in WAV_TYPES:
        if isinstance(body, str):
            raise RequestError(400, "the body is not a WAV file")
        return Request([read_wav(body, audio.sample_rate, audio.seconds)], single=True)
    if kind == NPY:
        return _from_array(parse_npy(body))
    if kind != JSON:
        raise unsupported(content_type, CONTENT_TYPES)
    inputs, parameters = parse_json(body, known)
    single = isinstance(inputs, str)
    files = [inputs] if single else inputs
    if not isinstance(files, list) or not all(isinstance(one, str) for one in files):
        raise RequestError(400, "inputs must be a WAV file in base64, or a list of them")
    check_count(files)
    clips = [
        read_wav(parse_base64(one, f"inputs[{index}]"), audio.sample_rate, audio.seconds)
        for index, one in enumerate(files)
    ]
    return Request(clips, single, parameters)


def postprocess(outputs: Arrays, config: ServingConfig, top_k: int | None = 5) -> list[Ranking]:
    """For each clip its `top_k` best labels, best first."""
    return rank(outputs, config, top_k)


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets: one ranking, or a list of them for a list of clips."""
    rankings = postprocess(outputs, config, request.parameters.get("top_k", 5))
    return rankings[0] if request.single else rankings


def input_axes(config: ServingConfig) -> dict[str, dict[int, str]]:
    return {"waveform" if _section(config).features == "waveform" else "features": {0: "batch"}}


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return OUTPUTS


def _section(config: ServingConfig) -> Audio:
    if config.audio is None:
        raise ModelError("slipway.json: audio: is missing")
    return config.audio


def _from_array(array: Signal) -> Request:
    if array.dtype != np.float32 or array.ndim not in (1, 2) or array.size == 0:
        raise RequestError(
            400, f"the array must be float32 (time,) or (batch, time), not {array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise RequestError(400, "the array holds values that are not finite")
    samples = [array] if array.ndim == 1 else list(array)
    check_count(samples)
    return Request(samples, array.ndim == 1)
