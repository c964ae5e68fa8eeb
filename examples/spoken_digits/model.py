"""The architecture: convolutions over time on a log-mel spectrogram, 0.23 million parameters."""

from __future__ import annotations

from torch import Tensor, nn

from examples.spoken_digits.data import WORDS

MELS = 40
SYMBOLS = ("<blank>", *(f"|{word}" for word in WORDS))
"""The blank of CTC, and whole words, each behind the space before it."""
WIDTH = 160


class DigitNet(nn.Module):
    """Log-mel features, float32 (batch, mels, frames), to logits (batch, frames / 2, symbols)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(*_convolution(MELS, WIDTH, 5, stride=2), nn.Dropout(0.1))
        self.rest = nn.ModuleList(_Block(dilation) for dilation in (1, 2, 4, 1, 2, 4))
        self.last = nn.Conv1d(WIDTH, len(SYMBOLS), 1)

    def forward(self, features: Tensor) -> Tensor:
        # Each band's mean over time goes, which is the microphone's and the line's colour.
        values = self.first(features - features.mean(dim=2, keepdim=True))
        for block in self.rest:
            values = values + block(values)
        logits: Tensor = self.last(values).transpose(1, 2)
        return logits


class _Block(nn.Module):
    """A convolution of each channel over time, then one across the channels."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(WIDTH, WIDTH, 7, padding=3 * dilation, dilation=dilation, groups=WIDTH, bias=False),
            *_convolution(WIDTH, WIDTH, 1),
            nn.Dropout(0.1),
        )

    def forward(self, values: Tensor) -> Tensor:
        changed: Tensor = self.layers(values)
        return changed


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv1d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()


def build() -> DigitNet:
    return DigitNet()
