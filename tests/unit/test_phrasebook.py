"""The phrasebook: its evaluation phrases are what CLDR says and training never saw, and the model knows them."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer

from examples import training
from examples.phrasebook import data, phrases, train

FOLDER = Path(data.__file__).parent


def test_the_evaluation_phrases_are_those_that_the_training_script_writes() -> None:
    pairs = phrases.Phrases(training.SEED, held_out=False).pairs(train.PAIRS)
    made = train.unseen(pairs, train.EVALUATION)
    assert made == list(zip(*data.evaluation(), strict=True))
    assert not {english for english, _ in made} & {english for english, _ in pairs}
    assert data.evaluation(5)[0] == [english for english, _ in made[:5]]


def test_dates_of_evaluation_are_none_of_training() -> None:
    kept = phrases.Phrases(0, held_out=False)
    held = phrases.Phrases(0, held_out=True)
    for _ in range(50):
        assert not phrases.is_held_out(kept._date())
        assert phrases.is_held_out(held._date())


def test_the_model_translates_phrases_as_well_as_its_record_says() -> None:
    import torch
    from transformers import MarianMTModel

    torch.set_num_threads(1)
    record = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))
    network = MarianMTModel.from_pretrained(train.MODEL, local_files_only=True).eval()
    assert sum(tensor.numel() for tensor in network.parameters()) == record["parameters"]
    tokenizer = Tokenizer.from_file(str(train.MODEL / "tokenizer.json"))
    english, french = data.evaluation(40)
    assert record["exact"] == 1.0
    assert train.translate(network, tokenizer, english) == french


def test_every_letter_of_the_phrases_is_in_the_vocabulary() -> None:
    tokenizer = Tokenizer.from_file(str(train.MODEL / "tokenizer.json"))
    unknown = tokenizer.token_to_id(train.UNKNOWN)
    for texts in data.evaluation():
        assert not any(unknown in one.ids for one in tokenizer.encode_batch(texts))
        ids = [one.ids for one in tokenizer.encode_batch(texts)]
        assert tokenizer.decode_batch(ids) == texts
