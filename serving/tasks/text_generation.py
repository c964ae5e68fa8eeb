"""The task text-generation of encoder–decoder models: text in, text out, for instance translation or a summary.

Requests: `application/json` `{"inputs": "text" | ["text", …], "parameters": {…}, "stream": true | false}`, or
`text/plain`. Answers, as the Hugging Face inference toolkit gives them, the key being `generation.answer_key`:

| request | answer |
|---|---|
| one text, or a list of texts | `[{"generated_text": "…"}, …]`, one for each text |
| one text, `"stream": true` | server-sent events, one for each token, as TGI sends them: see `stream` |

| parameter | default | |
|---|---|---|
| `max_new_tokens`, `min_new_tokens` | the spec's, 0 | tokens of the answer; at most the spec's `max_new_tokens` |
| `num_beams` | the spec's | texts that beam search keeps; 1 is greedy search |
| `length_penalty` | the spec's | of beam search: above 0 for longer answers, below for shorter ones |
| `early_stopping` | the spec's | of beam search: true, false or `"never"` |
| `no_repeat_ngram_size` | the spec's | no row of so many tokens comes twice; 0 for any |
| `do_sample` | false | clients may send it; only false can be had |

Apart from the tasks of one forward pass: the session that runs this one is a `serving.generation.Session`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from serving.config import Generation
from serving.errors import ModelError, RequestError
from serving.generation import OPTIONS, OUTPUTS
from serving.tasks import texts
from serving.tasks.request import Body, Request

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from serving.config import ServingConfig
    from serving.generation import Session
    from serving.tasks.classification import Arrays

CONTENT_TYPES, REQUIREMENTS = texts.CONTENT_TYPES, texts.REQUIREMENTS
PARAMETERS = (*OPTIONS, "do_sample", "stream")
MAX_BEAMS = 16

input_axes = texts.input_axes


class Prompts(list[str]):
    """Texts that are answered with the same options."""

    def __init__(self, samples: Iterable[str], options: dict[str, Any]) -> None:
        super().__init__(samples)
        self.options = options


def encode(samples: Sequence[str], config: ServingConfig) -> Arrays:
    """Texts, after the spec's prefix, to `input_ids` and `attention_mask`, both int64 (batch, longest of the batch).

    The options of `Prompts` are further arrays, without axes.
    """
    prefix = _section(config).prefix
    feeds = texts.encode([prefix + text for text in samples] if prefix else samples, config)
    options = samples.options if isinstance(samples, Prompts) else {}
    return feeds | {name: np.array(value) for name, value in options.items()}


def decode_request(body: Body, content_type: str | None, config: ServingConfig) -> Request:
    """The texts of a request. Raises RequestError."""
    request = texts.decode_request(body, content_type, config, PARAMETERS)
    parameters = request.parameters
    for name in ("do_sample", "stream"):
        if not isinstance(parameters.get(name, False), bool):
            raise RequestError(400, f"{name} must be true or false, not {parameters[name]!r:.40}")
    if parameters.get("do_sample"):
        raise RequestError(400, "do_sample: this endpoint gives the likeliest text, it does not draw one")
    options = {name: parameters[name] for name in OPTIONS if parameters.get(name) is not None}
    _check(options, _section(config))
    if parameters.get("stream"):
        if not request.single:
            raise RequestError(400, "stream: one text at a time; inputs must be a string")
        if options.get("num_beams", 1) != 1:
            raise RequestError(400, "stream: beam search knows its text at the end only; num_beams must be 1")
        options["num_beams"] = 1
    return Request(Prompts(request.samples, options), request.single, parameters)


def _check(options: dict[str, Any], section: Generation) -> None:
    """Raises RequestError for an option of the wrong type or beyond its limits."""
    most = section.max_new_tokens
    limits = {"max_new_tokens": (1, most), "min_new_tokens": (0, most), "num_beams": (1, MAX_BEAMS)}
    limits["no_repeat_ngram_size"] = (0, most)
    for name, (least, highest) in limits.items():
        value = options.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= highest:
            raise RequestError(400, f"{name} must be an integer from {least} to {highest}, not {value!r:.40}")
    penalty = options.get("length_penalty", 1.0)
    if isinstance(penalty, bool) or not isinstance(penalty, (int, float)) or not -10 <= penalty <= 10:
        raise RequestError(400, f"length_penalty must be a number from -10 to 10, not {penalty!r:.40}")
    early = options.get("early_stopping", False)
    if early not in (True, False, "never") or (isinstance(early, (int, float)) and not isinstance(early, bool)):
        raise RequestError(400, f'early_stopping must be true, false or "never", not {early!r:.40}')


def postprocess(outputs: Arrays, config: ServingConfig) -> list[str]:
    """For each row of `sequences` its text. Raises ModelError where the model's output is none."""
    (name,) = OUTPUTS
    sequences = outputs[name]
    if sequences.ndim != 2 or sequences.dtype.kind not in "iu":
        raise ModelError(
            f"the model's sequences are {sequences.dtype} of shape {sequences.shape}, not whole (batch, length)"
        )
    section, tokenizer = _section(config), _answer_tokenizer(config)
    written: list[str] = tokenizer.decode_batch([_answer_of(row, section) for row in sequences[:, 1:].tolist()])
    return written


def answers(outputs: Arrays, samples: Sequence[Any], config: ServingConfig) -> list[str]:
    """For each text the answer's."""
    return postprocess(outputs, config)


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets; see the table above."""
    key = _section(config).answer_key
    return [{key: text} for text in postprocess(outputs, config)]


def stream(session: Session, request: Request, config: ServingConfig) -> Iterator[bytes]:
    """The answer to a request that wants it token by token: `data:` and a JSON object for each, as they come.

    `{"index": 1, "token": {"id", "text", "logprob", "special"}, "generated_text": null, "details": null}`; the last one
    has the whole text as `generated_text`, and why it ends in `details`.
    """
    section, tokenizer = _section(config), _answer_tokenizer(config)
    feeds = encode(request.samples, config)
    most = int(feeds.get("max_new_tokens", np.array(section.max_new_tokens)))
    ids: list[int] = []
    text = ""
    for index, token in enumerate(session.stream(feeds), start=1):
        special = token.id in (*section.eos_token_ids, section.pad_token_id)
        ids += [] if special else [token.id]
        whole = tokenizer.decode(ids)
        # A letter of several tokens is not there before the last one; until then its place is taken by U+FFFD.
        new = "" if whole.endswith("\N{REPLACEMENT CHARACTER}") else whole[len(text) :]
        text += new
        ended = token.id in section.eos_token_ids
        last = ended or index == most
        event = {
            "index": index,
            "token": {"id": token.id, "text": new, "logprob": token.logprob, "special": special},
            "generated_text": whole if last else None,
            "details": (
                {"finish_reason": "eos_token" if ended else "length", "generated_tokens": index} if last else None
            ),
        }
        yield b"data:" + orjson.dumps(event) + b"\n\n"


def batch_key(request: Request) -> Hashable:
    """The options, which hold for a whole run; a stream is alone."""
    if request.parameters.get("stream"):
        return object()  # equal to nothing else
    return tuple(sorted(_options(request.samples).items()))


def join(parts: Iterable[Sequence[str]]) -> Sequence[str]:
    """The texts of several requests of one key."""
    parts = list(parts)
    return Prompts([text for part in parts for text in part], _options(parts[0]))


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return OUTPUTS


def _options(samples: Sequence[str]) -> dict[str, Any]:
    return samples.options if isinstance(samples, Prompts) else {}


def _answer_of(row: list[int], section: Generation) -> list[int]:
    """The tokens of an answer, up to the one that ends it and without padding."""
    end = next((at for at, token in enumerate(row) if token in section.eos_token_ids), len(row))
    return [token for token in row[:end] if token != section.pad_token_id]


def _section(config: ServingConfig) -> Generation:
    if config.generation is None:
        raise ModelError("slipway.json: generation: is missing")
    return config.generation


def _answer_tokenizer(config: ServingConfig) -> Any:
    own = _section(config).tokenizer
    return texts.tokenizer(config) if own is None else _opened(config.path(own))


@functools.lru_cache(maxsize=8)
def _opened(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{path}: is not a tokenizer.json: {error}") from None
