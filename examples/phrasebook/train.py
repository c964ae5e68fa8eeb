"""Trains the committed model: `python -m examples.phrasebook.train`, minutes on one core. Needs `babel`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import GenerationConfig, MarianConfig, MarianMTModel

from examples import training
from examples.phrasebook.phrases import Pair, Phrases

FOLDER = Path(__file__).parent
MODEL = FOLDER / "model"
PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"
VOCABULARY = 1000
PAIRS, EPOCHS, BATCH = 50_000, 4, 128
EVALUATION = 100
SIZES: dict[str, Any] = {
    "d_model": 96,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 256,
    "decoder_ffn_dim": 256,
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    training.start()
    torch.set_num_threads(1)
    pairs = Phrases(training.SEED, held_out=False).pairs(PAIRS)
    evaluation = unseen(pairs, EVALUATION)
    lines = [json.dumps({"english": english, "french": french}, ensure_ascii=False) for english, french in evaluation]
    (FOLDER / "evaluation.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    MODEL.mkdir(exist_ok=True)
    tokenizer = train_tokenizer([text for pair in pairs for text in pair])
    tokenizer.save(str(MODEL / "tokenizer.json"))
    network = build(tokenizer)
    batches = Batches(tokenizer, pairs)
    training.fit(
        network, len(pairs), lambda rows: batches.loss(network, rows), epochs=EPOCHS, batch=BATCH, peak_rate=3e-3
    )

    network.generation_config = generation(network.config)
    network.save_pretrained(MODEL)
    answers = translate(network, tokenizer, [english for english, _ in evaluation])
    scores: dict[str, Any] = scored(answers, [french for _, french in evaluation])
    training.record(
        FOLDER,
        metric="bleu",
        score=scores.pop("bleu"),
        samples=len(evaluation),
        threads=1,
        packages=("transformers", "tokenizers", "babel", "sacrebleu"),
        **scores,
        pairs=PAIRS,
        epochs=EPOCHS,
        parameters=sum(tensor.numel() for tensor in network.parameters()),
    )
    for (english, french), answer in zip(evaluation, answers, strict=True):
        if answer != french:
            print(f"{english!r}: {answer!r}, not {french!r}")


def unseen(pairs: list[Pair], count: int, seed: int = training.SEED) -> list[Pair]:
    """Phrases of held-out contents, without those that read like one of training once rounded ("2 months ago")."""
    seen = {english for english, _ in pairs}
    drawn = Phrases(seed, held_out=True).distinct(2 * count)
    return [pair for pair in drawn if pair[0] not in seen][:count]


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """One vocabulary of byte pairs for the two languages; digits stand alone."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[PAD, EOS, UNKNOWN], show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, tokenizer.token_to_id(EOS))]
    )
    return tokenizer


def build(tokenizer: Tokenizer) -> Any:
    pad: Any = tokenizer.token_to_id(PAD)
    config = MarianConfig(
        vocab_size=tokenizer.get_vocab_size(),
        decoder_vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=pad,
        eos_token_id=tokenizer.token_to_id(EOS),
        decoder_start_token_id=pad,
        max_position_embeddings=128,
        activation_function="relu",
        scale_embedding=True,
        dropout=0.0,
        **SIZES,
    )
    return MarianMTModel(config)


def generation(config: Any) -> GenerationConfig:
    return GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=64,
        num_beams=1,
        bad_words_ids=[[config.pad_token_id]],
        pad_token_id=config.pad_token_id,
        eos_token_id=config.eos_token_id,
        forced_eos_token_id=config.eos_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
    )


class Batches:
    """The pairs as tokens, padded batch by batch."""

    def __init__(self, tokenizer: Tokenizer, pairs: list[Pair]) -> None:
        self.pad: Any = tokenizer.token_to_id(PAD)
        self.sides = [
            [torch.tensor(one.ids) for one in tokenizer.encode_batch(list(texts))] for texts in zip(*pairs, strict=True)
        ]

    def loss(self, network: Any, rows: Tensor) -> Tensor:
        sources, targets = (
            torch.nn.utils.rnn.pad_sequence([side[row] for row in rows.tolist()], True, self.pad) for side in self.sides
        )
        wanted = targets.masked_fill(targets == self.pad, -100)
        loss: Tensor = network(input_ids=sources, attention_mask=(sources != self.pad).long(), labels=wanted).loss
        return loss


@torch.inference_mode()
def translate(network: Any, tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    pad = network.config.pad_token_id
    tokens = [torch.tensor(one.ids) for one in tokenizer.encode_batch(texts)]
    ids = torch.nn.utils.rnn.pad_sequence(tokens, True, pad)
    made = network.generate(input_ids=ids, attention_mask=(ids != pad).long())
    return tokenizer.decode_batch(made.tolist())


def scored(answers: list[str], references: list[str]) -> dict[str, float]:
    from model_build.metrics import bleu, chrf

    right = sum(answer == reference for answer, reference in zip(answers, references, strict=True))
    return {
        "bleu": bleu.score(answers, references).value,
        "chrf": round(chrf.score(answers, references).value, 4),
        "exact": round(right / len(references), 4),
    }


if __name__ == "__main__":
    main()
