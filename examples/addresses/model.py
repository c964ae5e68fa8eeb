"""The architecture: convolutions over the pieces of words, 0.3 million parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from examples.addresses.data import LABELS

PIECES = 1500
"""At most so many in `tokenizer.json`."""
WIDTH = 128


class AddressTagger(nn.Module):
    """Ids and mask, int64 (batch, sequence), to logits (batch, sequence, labels)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(PIECES, 64)
        self.widen = nn.Linear(64, WIDTH)
        self.blocks = nn.ModuleList(_Block(dilation) for dilation in (1, 2, 4, 1))
        self.last = nn.Linear(WIDTH, len(LABELS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask[:, None].to(torch.float32)
        values = self.widen(self.embedding(input_ids)).transpose(1, 2)
        for block in self.blocks:
            # Padding is kept at zero, so that a text is labelled the same beside a longer one.
            values = block(values * mask)
        logits: Tensor = self.last(values.transpose(1, 2))
        return logits


class _Block(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation)
        self.normalize = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(0.2)

    def forward(self, values: Tensor) -> Tensor:
        changed: Tensor = self.dropout(torch.relu(self.convolution(values)))
        normalized: Tensor = self.normalize((values + changed).transpose(1, 2)).transpose(1, 2)
        return normalized


def build() -> AddressTagger:
    return AddressTagger()
