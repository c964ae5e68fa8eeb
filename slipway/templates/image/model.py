"""The network. Image tasks call the input `pixels`: float32 (batch, channels, height, width), scaled as in the spec."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):
    """float32 (batch, 1, 8, 8) to logits (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(32 * 4 * 4, 10),
        )  # fmt: skip

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(pixels)
        return logits


def build() -> nn.Module:
    return Network()
