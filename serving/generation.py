"""An encoder–decoder model of two graphs behind the methods of an ONNX Runtime session that the handler uses.

Apart because only such a model is run many times for one answer. `encoder.onnx` runs once for a batch and gives the
keys and values that the decoder attends to; `model.onnx` makes one token from the last one and the keys and values of
those before. Greedy and beam search are those of `transformers`, decision for decision, so that answers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from serving.config import ENCODER, Generation
from serving.errors import ModelError
from serving.litert import Value

Array = np.ndarray[Any, Any]

INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("sequences",)
TOKEN = "decoder_input_ids"  # noqa: S105  # the name of an input
LOGITS = "logits"
PAST, PRESENT, CROSS = "past.", "present.", "cross."
"""How the names of keys and values begin: of the tokens before, of those and the new one, and of the encoder's."""
OPTIONS = (
    "max_new_tokens",
    "min_new_tokens",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "no_repeat_ngram_size",
)
"""Fields of `Generation` that a feed of that name, an array without axes, replaces for one run."""
MAX_ROWS = 256
"""Of one step of the decoder, beams counted: more samples are run one part after the other."""
IMPOSSIBLE = np.float32(-1e9)
"""Added to what must not be chosen; infinity would make ties of all such."""


class Token(NamedTuple):
    id: int
    logprob: float


class Session:
    """Generates. Several threads may run it at once: what a run knows is its own. Raises ModelError."""

    def __init__(self, path: Path, threads: int, config: Generation) -> None:
        self.config = config
        self.encoder = _opened(path.with_name(ENCODER), threads)
        self.decoder = _opened(path, threads)
        self.cross = [one.name for one in self.encoder.get_outputs()]
        self.past = {one.name: _empty(one, path) for one in self.decoder.get_inputs() if one.name.startswith(PAST)}
        wanted = {TOKEN, INPUTS[1], *self.cross, *self.past}
        found = {one.name for one in self.decoder.get_inputs()}
        if not self.past or not found <= wanted:
            raise ModelError(
                f"{path}: its inputs are {', '.join(sorted(found))}, but {ENCODER} and this program give "
                f"{', '.join(sorted(wanted))}"
            )

    def get_inputs(self) -> list[Value]:
        return [Value(name) for name in INPUTS]

    def get_outputs(self) -> list[Value]:
        return [Value(name) for name in OUTPUTS]

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """`sequences` of a batch, int64 (batch, longest): first the token that a decoder starts with, then what was
        generated up to a token that ends it, then padding.
        """
        config = self._config(feeds)
        size = max(1, MAX_ROWS // config.num_beams)
        batch = len(feeds[INPUTS[0]])
        search = _greedy if config.num_beams == 1 else _beams
        parts = [
            search(self._begin(feeds, slice(start, start + size), config), config) for start in range(0, batch, size)
        ]
        longest = max(part.shape[1] for part in parts)
        rows = [
            np.pad(one, ((0, 0), (0, longest - one.shape[1])), constant_values=config.pad_token_id) for one in parts
        ]
        return [np.concatenate(rows)]

    def stream(self, feeds: Mapping[str, Array]) -> Iterator[Token]:
        """The tokens of one sample by greedy search as they come, the one that ends it included."""
        config = self._config(feeds)
        decoding = self._begin(feeds, slice(0, 1), config)
        sequence = np.full((1, 1), config.decoder_start_token_id, np.int64)
        for _ in range(config.max_new_tokens):
            logits = decoding.step(sequence[:, -1:])
            logprobs = _log_softmax(logits)
            chosen = _constrained(logits, sequence, config).argmax(axis=1)
            sequence = np.concatenate([sequence, chosen[:, None]], axis=1)
            yield Token(int(chosen[0]), float(logprobs[0, chosen[0]]))
            if chosen[0] in config.eos_token_ids:
                return

    def _config(self, feeds: Mapping[str, Array]) -> Generation:
        """The model's own settings with those of the run."""
        return replace(self.config, **{name: feeds[name].item() for name in OPTIONS if name in feeds})

    def _begin(self, feeds: Mapping[str, Array], part: slice, config: Generation) -> _Decoding:
        """The batch's encoding, and every sample's row as often as it has beams."""
        from onnxruntime import OrtValue

        given = {name: feeds[name][part] for name in INPUTS}
        beams = config.num_beams
        cross = self.encoder.run(self.cross, given)
        kept = dict(zip(self.cross, cross, strict=True)) | {INPUTS[1]: given[INPUTS[1]]}
        known = {one.name for one in self.decoder.get_inputs()}
        fixed = {name: np.repeat(array, beams, axis=0) for name, array in kept.items() if name in known}
        rows = len(given[INPUTS[0]]) * beams
        past = {name: np.zeros((rows, *shape), np.float32) for name, shape in self.past.items()}
        return _Decoding(
            self.decoder,
            {name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)) for name, array in fixed.items()},
            {name: OrtValue.ortvalue_from_numpy(array) for name, array in past.items()},
            len(given[INPUTS[0]]),
        )


class _Decoding:
    """One batch on its way: what the runtime keeps from token to token stays in its own memory."""

    def __init__(self, session: Any, fixed: Mapping[str, Any], past: Mapping[str, Any], batch: int) -> None:
        self.session = session
        self.fixed = fixed
        self.past = dict(past)
        self.batch = batch
        self.outputs = [LOGITS, *(PRESENT + name.removeprefix(PAST) for name in past)]

    def step(self, tokens: Array) -> Array:
        """The logits (rows, vocabulary) of what follows the last tokens, (rows, 1)."""
        from onnxruntime import OrtValue

        token = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(tokens))
        logits, *present = self.session.run_with_ort_values(self.outputs, {TOKEN: token, **self.fixed, **self.past})
        self.past = dict(zip(self.past, present, strict=True))
        found: Array = logits.numpy()
        return found

    def reorder(self, rows: Array) -> None:
        """Row n goes on from where row `rows[n]` was."""
        from onnxruntime import OrtValue

        if not np.array_equal(rows, np.arange(len(rows))):
            self.past = {
                name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value.numpy()[rows]))
                for name, value in self.past.items()
            }


def _greedy(decoding: _Decoding, config: Generation) -> Array:
    sequences = np.full((decoding.batch, 1), config.decoder_start_token_id, np.int64)
    going = np.ones(decoding.batch, bool)
    for _ in range(config.max_new_tokens):
        scores = _constrained(decoding.step(sequences[:, -1:]), sequences, config)
        chosen = np.where(going, scores.argmax(axis=1), config.pad_token_id)
        sequences = np.concatenate([sequences, chosen[:, None]], axis=1)
        going &= ~np.isin(chosen, config.eos_token_ids)
        if not going.any():
            break
    return sequences


def _beams(decoding: _Decoding, config: Generation) -> Array:
    """Beam search as `GenerationMixin._beam_search` has it: the best of `num_beams` finished texts, by the sum of their
    log probabilities over their length to the power of `length_penalty`.

    Of equal scores the one of the lower beam, then of the lower token, is taken; PyTorch leaves that open.
    """
    batch, beams = decoding.batch, config.num_beams
    keep = max(2, 1 + len(config.eos_token_ids)) * beams  # so that enough go on where all the best ones end
    length = 1 + config.max_new_tokens
    fill = config.pad_token_id or config.eos_token_ids[0]  # as there, where 0 is taken for none
    running = np.full((batch, beams, length), fill, np.int64)
    running[:, :, 0] = config.decoder_start_token_id
    finished = running.copy()
    running_scores = np.zeros((batch, beams), np.float32)
    running_scores[:, 1:] = IMPOSSIBLE  # all beams are the same at first: only the first one counts
    finished_scores = np.full((batch, beams), IMPOSSIBLE, np.float32)
    lengths = np.zeros((batch, beams), np.int64)
    ended = np.zeros((batch, beams), bool)
    improvable = np.ones((batch, 1), bool)
    first = np.arange(batch)[:, None] * beams
    at = 1
    while True:
        flat = running[:, :, :at].reshape(batch * beams, at)
        scores = _constrained(_log_softmax(decoding.step(flat[:, -1:])), flat, config)
        vocabulary = scores.shape[1]
        total = (scores.reshape(batch, beams, vocabulary) + running_scores[:, :, None]).reshape(batch, -1)
        chosen = _highest(total, keep)
        top_scores = np.take_along_axis(total, chosen, axis=1)
        origin = chosen // vocabulary
        top = np.take_along_axis(running, origin[:, :, None], axis=1)
        top[:, :, at] = chosen % vocabulary
        stops = np.isin(top[:, :, at], config.eos_token_ids) | (at + 1 >= length)

        open_scores = top_scores + stops.astype(np.float32) * IMPOSSIBLE
        going = _highest(open_scores, beams)
        running = np.take_along_axis(top, going[:, :, None], axis=1)
        running_scores = np.take_along_axis(open_scores, going, axis=1)

        just = stops & (np.arange(keep) < beams)
        new_scores = top_scores / np.float32(at**config.length_penalty)
        if config.early_stopping is True:
            new_scores = new_scores + ended.all(axis=1, keepdims=True).astype(np.float32) * IMPOSSIBLE
        new_scores = (
            new_scores + (~improvable).astype(np.float32) * IMPOSSIBLE + (~just).astype(np.float32) * IMPOSSIBLE
        )
        merged = np.concatenate([finished_scores, new_scores], axis=1)
        best = _highest(merged, beams)
        finished = np.take_along_axis(np.concatenate([finished, top], axis=1), best[:, :, None], axis=1)
        finished_scores = np.take_along_axis(merged, best, axis=1)
        lengths = np.take_along_axis(np.concatenate([lengths, np.full(top.shape[:2], at)], axis=1), best, axis=1)
        ended = np.take_along_axis(np.concatenate([ended, just], axis=1), best, axis=1)

        at += 1
        most = length - 1 if config.early_stopping == "never" and config.length_penalty > 0 else at - 1
        possible = running_scores[:, :1] / np.float32(most**config.length_penalty)
        worst = np.where(ended, finished_scores.min(axis=1, keepdims=True), IMPOSSIBLE)
        improvable &= (possible > worst).any(axis=1, keepdims=True)
        if not improvable.any() or (ended.all() and config.early_stopping is True) or stops.all():
            break
        decoding.reorder((first + np.take_along_axis(origin, going, axis=1)).reshape(-1))
    return finished[:, 0, : 1 + int(lengths[:, 0].max())]


def _highest(scores: Array, count: int) -> Array:
    """Columns of the highest values of each row, (rows, count), best first; of equal ones the first."""
    count = min(count, scores.shape[1])
    if scores.shape[1] > 4 * count:
        threshold = np.partition(scores, scores.shape[1] - count, axis=1)[:, -count, None]
        scores = np.where(scores < threshold, -np.inf, scores)
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def _constrained(scores: Array, sequences: Array, config: Generation) -> Array:
    """Scores (rows, vocabulary) without the tokens that must not come next, in the order of `transformers`."""
    made = sequences.shape[1] - 1
    scores = scores.copy()
    if config.no_repeat_ngram_size:
        _forbid_repetition(scores, sequences, config.no_repeat_ngram_size)
    scores[:, list(config.suppressed_tokens)] = -np.inf
    if made < config.min_new_tokens:
        scores[:, list(config.eos_token_ids)] = -np.inf
    forced = config.forced_bos_token_id if made == 0 else None
    if made == config.max_new_tokens - 1 and config.forced_eos_token_id is not None:
        forced = config.forced_eos_token_id
    if forced is not None:
        scores[:] = -np.inf
        scores[:, forced] = 0
    return scores


def _forbid_repetition(scores: Array, sequences: Array, size: int) -> None:
    """A token that would complete a row of `size` tokens which is there already."""
    if sequences.shape[1] < size:
        return
    windows = np.lib.stride_tricks.sliding_window_view(sequences, size, axis=1)
    suffix = sequences[:, None, sequences.shape[1] + 1 - size :]
    rows, positions = np.nonzero((windows[..., :-1] == suffix).all(axis=-1))
    scores[rows, windows[rows, positions, -1]] = -np.inf


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def _empty(value: Any, path: Path) -> tuple[int, int, int]:
    """The shape of a key or value of no tokens, without the batch."""
    if len(value.shape) != 4 or not all(isinstance(value.shape[axis], int) for axis in (1, 3)):
        raise ModelError(
            f"{path}: its input {value.name} has the shape {value.shape}, not (batch, heads, length, size)"
        )
    return value.shape[1], 0, value.shape[3]


def _opened(path: Path, threads: int) -> Any:
    from serving.handler import open_session

    return open_session(path, threads)
