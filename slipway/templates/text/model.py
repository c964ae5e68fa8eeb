"""The network. Text tasks call the inputs `input_ids` and `attention_mask`: int64 (batch, sequence)."""

from __future__ import annotations

import torch
from torch import nn

VOCABULARY, WIDTH, CLASSES = 400, 32, 3


class Network(nn.Module):
    """Token ids and mask to logits (batch, 3): the mean of the tokens' embeddings, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        nn.init.normal_(self.embedding.weight, std=0.02)  # words that training never sees should say little
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.unsqueeze(-1).to(self.embedding.weight.dtype)
        mean = (self.embedding(input_ids) * mask).sum(dim=1) / mask.sum(dim=1)
        logits: torch.Tensor = self.head(mean)
        return logits


def build() -> nn.Module:
    return Network()
