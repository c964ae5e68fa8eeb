"""The task token-classification: strings in, the spans that the model names in them out, for instance persons.

Requests: `application/json` `{"inputs": "text" | ["text", …], "parameters": {…}}`, or `text/plain`. Answers, as the
pipeline of `transformers` gives them: `[{"entity_group", "score", "word", "start", "end"}, …]`, a list of those for a
list of texts. `start` and `end` count characters of the text, and `word` is what stands between them. Labels may begin
with `B-` and `I-`; what is labelled `O` is left out. A text is cut at `max_length` tokens: of the rest nothing is said.

| parameter | default | |
|---|---|---|
| `aggregation_strategy` | `simple` | neighbouring tokens of one label are a span, and `B-` begins a new one |
| | `first`, `average`, `max` | the same, after each word got one label: that of its first token, of the mean of its \
tokens' scores, or of its surest token |
| | `none` | each token alone: `{"entity", "score", "index", "word", "start", "end"}` |
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from serving.errors import ModelError, RequestError
from serving.tasks import texts
from serving.tasks.classification import OUTPUTS, probabilities
from serving.tasks.request import Body, Request, any_batch, chain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serving.config import ServingConfig
    from serving.tasks.classification import Arrays

CONTENT_TYPES, REQUIREMENTS = texts.CONTENT_TYPES, texts.REQUIREMENTS
STRATEGIES = ("simple", "none", "first", "average", "max")
OUTSIDE = "O"

Scores = np.ndarray[Any, Any]

batch_key, join = any_batch, chain
encode, input_axes = texts.encode, texts.input_axes


class Piece(NamedTuple):
    """A token, or a word of several."""

    scores: Scores
    """(labels,), as probabilities."""
    start: int
    end: int
    word: int | None
    place: int
    """Among the text's tokens, special ones included."""

    @property
    def best(self) -> int:
        return int(self.scores.argmax())


def decode_request(body: Body, content_type: str | None, config: ServingConfig) -> Request:
    """The texts of a request. Raises RequestError."""
    request = texts.decode_request(body, content_type, config, ("aggregation_strategy",))
    strategy = request.parameters.get("aggregation_strategy", STRATEGIES[0])
    if strategy not in STRATEGIES:
        raise RequestError(400, f"aggregation_strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r:.40}")
    return request


def postprocess(
    outputs: Arrays, samples: Sequence[str], config: ServingConfig, strategy: str = STRATEGIES[0]
) -> list[list[dict[str, Any]]]:
    """For each text its spans, or tokens, in order. Raises ModelError where the model's output names none."""
    logits = outputs[OUTPUTS[0]]
    if logits.ndim != 3 or (config.labels and logits.shape[2] != len(config.labels)):
        raise ModelError(
            f"the model's logits have shape {logits.shape}, not (batch, sequence, {len(config.labels)} labels)"
        )
    if not np.isfinite(logits).all():
        raise ModelError("the model's logits are not finite for this input")
    found = []
    for text, pieces in zip(samples, _pieces(probabilities(logits), samples, config), strict=True):
        if strategy == "none":
            found.append([_token(piece, text, config) for piece in pieces if config.label(piece.best) != OUTSIDE])
            continue
        if strategy != "simple":
            words = itertools.groupby(pieces, lambda piece: piece.place if piece.word is None else ("word", piece.word))
            pieces = [_word(list(group), strategy) for _, group in words]
        found.append(list(_spans(pieces, text, config)))
    return found


def answers(outputs: Arrays, samples: Sequence[Any], config: ServingConfig) -> list[list[dict[str, Any]]]:
    """For each text its spans."""
    return postprocess(outputs, samples, config)


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets: the spans of one text, or a list of them for a list of texts."""
    strategy = request.parameters.get("aggregation_strategy", STRATEGIES[0])
    found = postprocess(outputs, request.samples, config, strategy)
    return found[0] if request.single else found


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return OUTPUTS


def _pieces(scores: Scores, samples: Sequence[str], config: ServingConfig) -> Iterator[list[Piece]]:
    """The tokens of each text but the special ones, with their scores."""
    tokenizer = texts.tokenizer(config)
    left = tokenizer.padding["direction"] == "left"
    for row, text, one in zip(scores, samples, tokenizer.encode_batch(list(samples)), strict=True):
        inside = np.flatnonzero(one.attention_mask)
        if len(row) < len(inside):
            raise ModelError(f"the model labels {len(row)} tokens of a text that has {len(inside)}")
        # The row may be padded further than the text alone: others of its batch were longer.
        own = row[len(row) - len(inside) :] if left else row[: len(inside)]
        yield [
            Piece(own[index], *_stripped(text, *one.offsets[position]), one.word_ids[position], index)
            for index, position in enumerate(inside.tolist())
            if not one.special_tokens_mask[position]
        ]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """Without the spaces that some tokenizers count to the word behind them."""
    while start < end and text[start].isspace():
        start += 1
    return start, end


def _word(pieces: list[Piece], strategy: str) -> Piece:
    """The tokens of one word as one piece."""
    if strategy == "average":
        scores = np.mean([piece.scores for piece in pieces], axis=0)
    else:
        scores = (pieces[0] if strategy == "first" else max(pieces, key=lambda piece: piece.scores.max())).scores
    return Piece(scores, pieces[0].start, pieces[-1].end, pieces[0].word, pieces[0].place)


def _spans(pieces: list[Piece], text: str, config: ServingConfig) -> Iterator[dict[str, Any]]:
    group: list[Piece] = []
    kind = OUTSIDE
    for piece in [*pieces, None]:
        label = config.label(piece.best) if piece else OUTSIDE
        begins, name = label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label
        if piece and group and name == kind and not begins:
            group.append(piece)
            continue
        if group and kind != OUTSIDE:
            start, end = group[0].start, group[-1].end
            score = float(np.mean([one.scores.max() for one in group]))
            yield {"entity_group": kind, "score": score, "word": text[start:end], "start": start, "end": end}
        group, kind = [piece] if piece else [], name


def _token(piece: Piece, text: str, config: ServingConfig) -> dict[str, Any]:
    return {
        "entity": config.label(piece.best),
        "score": float(piece.scores.max()),
        "index": piece.place,
        "word": text[piece.start : piece.end],
        "start": piece.start,
        "end": piece.end,
    }
