"""Tiny encoder–decoder models of `transformers` with random weights, from its own config classes: no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VOCABULARY = 60
START, PAD, END = 3, 3, 1
KINDS = ("marian", "t5", "bart")


def make(kind: str, seed: int) -> Any:
    """A model in eval mode whose logits lie far enough apart that two runtimes choose alike."""
    import torch
    import transformers

    torch.manual_seed(seed)
    sizes = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 64,
        "init_std": 0.4,
        "vocab_size": VOCABULARY,
        "pad_token_id": PAD,
        "eos_token_id": END,
        "bos_token_id": 0,
        "decoder_start_token_id": START,
    }
    if kind == "marian":
        return transformers.MarianMTModel(
            transformers.MarianConfig(**sizes, decoder_vocab_size=VOCABULARY, forced_eos_token_id=None)
        ).eval()
    if kind == "bart":
        return transformers.BartForConditionalGeneration(
            transformers.BartConfig(**sizes, forced_eos_token_id=END, forced_bos_token_id=0)
        ).eval()
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=VOCABULARY,
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=2,  # as many as the decoder has: the library counts its cache by the encoder's
            num_heads=2,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=END,
            initializer_factor=3.0,
        )
    ).eval()


def tokenizer_json() -> str:
    """Words `w4` to `w59` as their numbers; `</s>` ends a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = ["<unk>", "</s>", "<s>", "<pad>", *(f"w{number}" for number in range(4, VOCABULARY))]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="$A </s>", special_tokens=[("</s>", END)]
    )
    tokenizer.add_special_tokens(["</s>", "<pad>"])
    text: str = tokenizer.to_str()
    return text


def save(kind: str, seed: int, folder: Path, **generation: Any) -> Path:
    """The model as a checkpoint, its generation_config.json changed by `generation`."""
    model = make(kind, seed)
    for name, value in generation.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    assert json.loads((folder / "config.json").read_text())["is_encoder_decoder"]
    return folder
