"""The task speech-recognition: sound in, text out, by connectionist temporal classification (CTC).

Requests: those of audio-classification, with the parameters below. Answers, as the Hugging Face inference toolkit gives
them: `{"text": …}`, and `"chunks": [{"text", "timestamp": [start, end]}, …]` in seconds where they are asked for; a
list of those for a list of clips. A clip is cut at `seconds`, and nothing is said of what follows.

| parameter | default | |
|---|---|---|
| `return_timestamps` | false | `"word"` or `"char"`: a chunk for each, by the frames that name it |

The model's `logits` are (batch, frames, symbols), and `labels` name the symbols: a text is the best symbol of each
frame, repetitions taken once, `blank` and symbols in angle brackets or square ones left out (A. Graves et al.,
"Connectionist Temporal Classification", ICML 2006, best path decoding). `word_delimiter` may be a symbol or a part of
one, as in the pieces of SentencePiece; it becomes a space.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from serving.config import Audio, Ctc, ServingConfig
from serving.errors import ModelError, RequestError
from serving.tasks import audio_classification
from serving.tasks.request import Body, Request, any_batch, chain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serving.tasks.classification import Arrays

CONTENT_TYPES, REQUIREMENTS = audio_classification.CONTENT_TYPES, audio_classification.REQUIREMENTS
OUTPUTS = ("logits",)
TIMESTAMPS = (False, None, "word", "char")

batch_key, join = any_batch, chain
encode, input_axes = audio_classification.encode, audio_classification.input_axes


class Run(NamedTuple):
    """A symbol and the frames that name it, the last one excluded."""

    symbol: str
    first: int
    end: int


def decode_request(body: Body, content_type: str | None, config: ServingConfig) -> Request:
    """The clips of a request, at the configured rate. Raises RequestError."""
    request = audio_classification.decode_request(body, content_type, config, ("return_timestamps",))
    wanted = request.parameters.get("return_timestamps")
    if not any(wanted is one or (isinstance(wanted, str) and wanted == one) for one in TIMESTAMPS):
        raise RequestError(400, f'return_timestamps must be false, "word" or "char", not {wanted!r:.40}')
    return request


def postprocess(outputs: Arrays, config: ServingConfig, timestamps: str | None = None) -> list[dict[str, Any]]:
    """For each clip its text, and where asked the time of each word or character. Raises ModelError."""
    audio, ctc = _sections(config)
    logits = outputs[OUTPUTS[0]]
    if logits.ndim != 3 or logits.shape[2] != len(config.labels):
        raise ModelError(
            f"the model's logits have shape {logits.shape}, not (batch, frames, {len(config.labels)} symbols)"
        )
    if not np.isfinite(logits).all():
        raise ModelError("the model's logits are not finite for this input")
    found = []
    for path in logits.argmax(axis=2):
        runs = _characters(_runs(path, config.labels, ctc), ctc)
        one: dict[str, Any] = {"text": "".join(run.symbol for run in runs)}
        if timestamps:
            frame = audio.length / audio.sample_rate / len(path)
            chunks = runs if timestamps == "char" else _words(runs)
            one["chunks"] = [
                {"text": symbol, "timestamp": [round(first * frame, 3), round(end * frame, 3)]}
                for symbol, first, end in chunks
            ]
        found.append(one)
    return found


def answers(outputs: Arrays, samples: Sequence[Any], config: ServingConfig) -> list[dict[str, Any]]:
    """For each clip `{"text": …}`."""
    return postprocess(outputs, config)


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets: one text, or a list of them for a list of clips."""
    found = postprocess(outputs, config, request.parameters.get("return_timestamps") or None)
    return found[0] if request.single else found


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return OUTPUTS


def _runs(path: np.ndarray[Any, Any], labels: Sequence[str], ctc: Ctc) -> Iterator[Run]:
    """The symbols that a path names, each once for all its frames in a row."""
    starts = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist()]
    for first, end in zip(starts, [*starts[1:], len(path)], strict=True):
        index = int(path[first])
        if index != ctc.blank and not _special(labels[index]):
            yield Run(labels[index], first, end)


def _special(symbol: str) -> bool:
    """Of the vocabulary's own, like `<pad>`, `<s>` or `[UNK]`."""
    return len(symbol) > 2 and (symbol[0], symbol[-1]) in (("<", ">"), ("[", "]"))


def _characters(runs: Iterator[Run], ctc: Ctc) -> list[Run]:
    """With spaces for the delimiters, also those within symbols: one between two words, none at the ends."""
    kept: list[Run] = []
    for symbol, first, end in runs:
        for text in re.findall(" |[^ ]+", symbol.replace(ctc.word_delimiter, " ")):
            if text != " " or (kept and kept[-1].symbol != " "):
                kept.append(Run(text, first, end))
    return kept[:-1] if kept and kept[-1].symbol == " " else kept


def _words(runs: list[Run]) -> list[Run]:
    words: list[Run] = []
    inside = False
    for run in runs:
        if run.symbol == " ":
            inside = False
        elif inside:
            words[-1] = Run(words[-1].symbol + run.symbol, words[-1].first, run.end)
        else:
            words.append(run)
            inside = True
    return words


def _sections(config: ServingConfig) -> tuple[Audio, Ctc]:
    if config.audio is None or config.ctc is None:
        raise ModelError("slipway.json: audio: or ctc: is missing")
    return config.audio, config.ctc
