"""The network. Its inputs have the names that the spec's `tensor` section gives them; axis 0 is the batch."""

from __future__ import annotations

import torch
from torch import nn

FEATURES, CLASSES = 13, 3


class Network(nn.Module):
    """float32 (batch, 13) to logits (batch, 3)."""

    def __init__(self) -> None:
        super().__init__()
        # Part of the model, so that clients send the measurements as they are.
        self.normalise = nn.BatchNorm1d(FEATURES, affine=False)
        self.layers = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, CLASSES))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(self.normalise(features))
        return logits


def build() -> nn.Module:
    return Network()
