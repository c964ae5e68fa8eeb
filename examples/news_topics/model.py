"""MiniLM-L6 as its encoder, the mean of its token embeddings, and a linear head: 22.7 million parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

TOPICS = 5


class TopicClassifier(nn.Module):
    """Token ids and mask, int64 (batch, sequence), to logits (batch, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _encoder()
        self.head = nn.Linear(self.encoder.config.hidden_size, TOPICS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embed(input_ids, attention_mask))
        return logits

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The text's embedding (batch, 384) of unit length, as all-MiniLM-L6-v2 was trained to give it."""
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(tokens.dtype)
        # The mean's divisor falls away: the length is made one anyway.
        return nn.functional.normalize((tokens * mask).sum(dim=1))


def build() -> TopicClassifier:
    return TopicClassifier()


def _encoder() -> BertModel:
    config = BertConfig(
        vocab_size=30522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        hidden_act="gelu",
    )
    # With the pooling layer, although its result is not used (nor exported): its weights are in the file.
    encoder = BertModel(config, add_pooling_layer=True)
    # The file also holds this constant, which today's library no longer stores; strict loading wants it named.
    positions = torch.arange(config.max_position_embeddings).expand((1, -1)).clone()
    encoder.embeddings.register_buffer("position_ids", positions, persistent=True)
    return encoder
