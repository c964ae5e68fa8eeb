"""Greedy and beam search on two ONNX graphs beside `transformers`' own `generate`, token by token."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seq2seq_models

from model_build.passes import export_onnx
from model_build.passes.base import Context, Model
from serving.config import Generation, ServingConfig
from serving.generation import Session

pytestmark = pytest.mark.contract

SETTINGS: list[dict[str, Any]] = [
    {},
    {"num_beams": 4},
    {"num_beams": 4, "early_stopping": True},
    {"num_beams": 3, "length_penalty": 2.0, "early_stopping": "never"},
    {"num_beams": 3, "length_penalty": -1.0, "min_new_tokens": 4},
    {"min_new_tokens": 5, "no_repeat_ngram_size": 2},
    {"num_beams": 5, "no_repeat_ngram_size": 3, "suppressed_tokens": (7, 9), "forced_eos_token_id": 1},
]


def options_of(kind: str, **changes: Any) -> Generation:
    start = 0 if kind == "t5" else seq2seq_models.START
    config = Generation(
        max_new_tokens=12,
        decoder_start_token_id=start,
        pad_token_id=start,
        eos_token_ids=(seq2seq_models.END,),
        forced_bos_token_id=0 if kind == "bart" else None,
    )
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module", params=seq2seq_models.KINDS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    """The kind, the model, and the folder of its graphs."""
    from model_build import seq2seq

    kind = request.param
    model = seq2seq_models.make(kind, 0)
    folder = tmp_path_factory.mktemp(kind)
    generator = seq2seq.loaded(model, dataclasses.asdict(options_of(kind)), kind)
    context = Context(
        output=folder,
        example=lambda: batch(np.random.default_rng(9), (5, 3)),
        input_axes={},
        output_names=("sequences",),
        serving=ServingConfig("x", "text-generation", folder),
    )
    made = export_onnx.run(Model("pytorch", folder, load=lambda: generator), export_onnx.Config(), context)
    assert made.files == (folder / "model.onnx", folder / "encoder.onnx")
    return kind, model, folder


def batch(random: np.random.Generator, lengths: tuple[int, ...]) -> dict[str, Any]:
    """Random tokens; shorter rows are padded."""
    ids = random.integers(4, seq2seq_models.VOCABULARY, (len(lengths), max(lengths)))
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    return {"input_ids": ids * mask + seq2seq_models.PAD * (1 - mask), "attention_mask": mask}


@pytest.mark.parametrize(
    "changes", SETTINGS, ids=lambda changes: " ".join(f"{k}={v}" for k, v in changes.items()) or "greedy"
)
def test_every_token_is_the_one_that_transformers_generates(
    exported: tuple[str, Any, Path], changes: dict[str, Any]
) -> None:
    import torch

    from model_build import seq2seq

    kind, model, folder = exported
    config = options_of(kind, **changes)
    generator = seq2seq.loaded(model, dataclasses.asdict(config), kind)
    session = Session(folder / "model.onnx", 1, config)
    random = np.random.default_rng(3)
    for lengths in ((6, 6), (9, 4, 1)):
        feeds = batch(random, lengths)
        with torch.inference_mode():
            wanted = generator(**{name: torch.from_numpy(array) for name, array in feeds.items()}).numpy()
        (got,) = session.run(["sequences"], feeds)
        assert got.dtype == np.int64
        assert got.tolist() == wanted.tolist(), (lengths, changes)


def test_a_stream_has_the_tokens_of_greedy_search_and_their_log_probabilities(exported: tuple[str, Any, Path]) -> None:
    kind, _, folder = exported
    config = options_of(kind)
    session = Session(folder / "model.onnx", 1, config)
    feeds = batch(np.random.default_rng(4), (5,))
    (whole,) = session.run(["sequences"], feeds)
    tokens = list(session.stream(feeds))
    assert [token.id for token in tokens] == whole[0, 1:].tolist()
    assert all(token.logprob <= 0 for token in tokens)


def test_options_of_a_run_stand_in_for_the_models_own(exported: tuple[str, Any, Path]) -> None:
    kind, _, folder = exported
    feeds = batch(np.random.default_rng(5), (5, 4))
    session = Session(folder / "model.onnx", 1, options_of(kind))
    asked = session.run(["sequences"], feeds | {"num_beams": np.array(4), "max_new_tokens": np.array(7)})[0]
    meant = Session(folder / "model.onnx", 1, options_of(kind, num_beams=4, max_new_tokens=7)).run(
        ["sequences"], feeds
    )[0]
    assert asked.tolist() == meant.tolist()
    assert asked.shape[1] <= 8


def test_more_rows_than_one_step_takes_are_generated_in_parts(
    exported: tuple[str, Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, _, folder = exported
    session = Session(folder / "model.onnx", 1, options_of(kind, num_beams=2))
    feeds = batch(np.random.default_rng(6), (5, 5, 5, 5, 5))
    together = session.run(["sequences"], feeds)[0]
    monkeypatch.setattr("serving.generation.MAX_ROWS", 4)
    apart = session.run(["sequences"], feeds)[0]
    end = seq2seq_models.END
    for one, other in zip(together.tolist(), apart.tolist(), strict=True):
        assert cut(one, end) == cut(other, end)


def cut(row: list[int], end: int) -> list[int]:
    return row[1 : row.index(end, 1)] if end in row[1:] else row[1:]
