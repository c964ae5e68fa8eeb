"""The architecture: a small detector without anchors, of 240,000 parameters.

Every cell of a grid, 8 pixels apart, says how likely an object of each class is around it, and how far the object's
four sides are away (FCOS, Tian et al. 2019).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SIZE, STRIDE = 96, 8
CLASSES = 10
PRIOR = 0.02
"""Likelihood that an untrained cell gives a class: most cells hold none, which would drown the others at first."""


class SceneDetector(nn.Module):
    """Grey pictures, float32 (batch, 1, 96, 96), to boxes (batch, 144, 4), x0 y0 x1 y1 as fractions of the picture, and
    logits (batch, 144, 10) for a sigmoid each."""

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_convolution(1, 16, stride=2), *_convolution(16, 32, stride=2), *_convolution(32, 64, stride=2)
        )
        self.trunk = nn.Sequential(*(_Residual(64) for _ in range(2)))
        self.kinds = nn.Sequential(*_convolution(64, 64), nn.Conv2d(64, CLASSES, 1))
        self.sides = nn.Sequential(*_convolution(64, 48), nn.Conv2d(48, 4, 1))
        last = self.kinds[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None  # noqa: S101  # made so above
        nn.init.constant_(last.bias, -math.log((1 - PRIOR) / PRIOR))
        at = torch.arange(STRIDE / 2, SIZE, STRIDE) / SIZE
        down, across = torch.meshgrid(at, at, indexing="ij")
        self.register_buffer("centres", torch.stack([across, down], -1).reshape(-1, 2), persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(self.stem(pixels))
        logits = self.kinds(features).flatten(2).transpose(1, 2)
        # Distances are positive; before training, of about two cells.
        away = nn.functional.softplus(self.sides(features).flatten(2).transpose(1, 2)) * (3 * STRIDE / SIZE)
        boxes = torch.cat([self.centres - away[..., :2], self.centres + away[..., 2:]], -1)
        return boxes, logits


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = _convolution(channels, channels), _convolution(channels, channels)
        self.inner = nn.Sequential(*first, *second[:-1])

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.relu(features + self.inner(features))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    # Without a bias: the batch normalisation that follows has its own, and both are folded into one when exported.
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def build() -> nn.Module:
    return SceneDetector()
