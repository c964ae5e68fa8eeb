"""A small convolutional network, without normalisation over batches: averages of its statistics would fit no client."""

from __future__ import annotations

from torch import Tensor, nn


class ShopNet(nn.Module):
    """Grey images, float32 (batch, 1, 28, 28), to logits (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU()),  # 14 x 14
            *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),  # 7 x 7
            *(nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10)),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.layers(pixels)
        return logits


def build() -> nn.Module:
    return ShopNet()
