"""The architecture: three convolutions and two linear layers, 1.67 million parameters."""

from __future__ import annotations

from torch import Tensor, nn


class FashionNet(nn.Module):
    """Grey images, float32 (batch, 1, 28, 28), to logits (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 32), nn.MaxPool2d(2), *_convolution(32, 64), nn.MaxPool2d(2), *_convolution(64, 64)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 7 * 7, 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, 10)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(pixels))
        return logits


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    # Without a bias: the batch normalisation that follows has its own, and both are folded into one when exported.
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def build() -> nn.Module:
    return FashionNet()
