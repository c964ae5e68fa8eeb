"""The network. Audio tasks call the input `waveform`, float32 (batch, time); `features` where the spec has log_mel."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):
    """float32 (batch, 4000) to logits (batch, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 16, 33, stride=4), nn.ReLU(),
            nn.Conv1d(16, 32, 9, stride=4), nn.ReLU(),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 3),
        )  # fmt: skip

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(waveform.unsqueeze(1))
        return logits


def build() -> nn.Module:
    return Network()
