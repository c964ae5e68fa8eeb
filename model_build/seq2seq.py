"""An encoder–decoder model of `transformers`: as a module that generates, and as the two graphs that serving runs.

Apart because the source, the export and the passes after it must agree on what the two graphs take and give. Nothing
here knows an architecture: keys and values come out of the library's own caches, as Marian, T5 or BART fill them.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from model_build.errors import UserError

Pairs = list[torch.Tensor]
"""Key and value of each layer in turn, (batch, heads, length, size)."""


class Generator(torch.nn.Module):
    """`input_ids` and `attention_mask` to `sequences`, int64 (batch, length), as `generate` gives them."""

    def __init__(self, model: Any, options: dict[str, Any]) -> None:
        super().__init__()
        self.generates = True
        self.model = model
        # Its own would stand in for what is left out here, sampling among it.
        self.model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            **_named(options), do_sample=False, use_cache=True
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.model.generate(input_ids=input_ids, attention_mask=attention_mask)
        return made


def _named(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of `serving.config.Generation` by the library's names."""
    known = {name: value for name, value in options.items() if name not in ("prefix", "tokenizer", "answer_key")}
    ends, suppressed = known.pop("eos_token_ids"), known.pop("suppressed_tokens")
    if suppressed:
        known["bad_words_ids"] = [[token] for token in suppressed]
    if not known["no_repeat_ngram_size"]:
        del known["no_repeat_ngram_size"]
    return {**known, "eos_token_id": list(ends)}


class Encoder(torch.nn.Module):
    """`input_ids` and `attention_mask` to the keys and values that the decoder's cross-attention takes."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.model = generator.model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        # One step of the decoder fills the cache; the step itself is left out of the graph, as nothing uses it.
        self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=torch.zeros_like(input_ids[:, :1]),
            past_key_values=cache,
            use_cache=True,
        )
        return tuple(_pairs(cache.cross_attention_cache))


class Decoder(torch.nn.Module):
    """The last token of each row, (batch, 1), with what came before: the logits of the next one, (batch, vocabulary),
    and the keys and values of all of them."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.model = generator.model

    def forward(
        self, decoder_input_ids: torch.Tensor, attention_mask: torch.Tensor, past: Pairs, cross: Pairs
    ) -> tuple[torch.Tensor, ...]:
        cache = EncoderDecoderCache(_cache(past), _cache(cross))
        cache.is_updated = dict.fromkeys(cache.is_updated, True)
        batch, length = attention_mask.shape
        states = cross[0].new_zeros(batch, length, self.model.config.hidden_size)  # only their shape is looked at
        made = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            past_key_values=cache,
            use_cache=True,
        )
        return made.logits[:, -1], *_pairs(cache.self_attention_cache)


def _cache(pairs: Pairs) -> Any:
    return DynamicCache(list(zip(pairs[::2], pairs[1::2], strict=True)))


def _pairs(cache: Any) -> Pairs:
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def names(start: str, pairs: Pairs) -> list[str]:
    """`cross.0.key`, `cross.0.value`, `cross.1.key`, …"""
    return [f"{start}{number // 2}.{('key', 'value')[number % 2]}" for number in range(len(pairs))]


def loaded(model: Any, options: dict[str, Any], name: str) -> Generator:
    """The generator of a loaded model, in eval mode. Raises UserError where it has no encoder and decoder."""
    if not model.config.is_encoder_decoder:
        raise UserError(
            f"{name}: has no encoder and decoder; text-generation takes models for translation or summaries"
        )
    return Generator(model, options).eval()
