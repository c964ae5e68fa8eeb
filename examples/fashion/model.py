"""The architectures: the model, of 1.67 million parameters, and a student with a fifteenth of them."""

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


class FashionStudent(nn.Module):
    """The same in and out. Its strides shrink the picture before there are many channels to compute."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 24, size=4, stride=2),  # 14 x 14
            *_convolution(24, 48, stride=2),  # 7 x 7
            *_convolution(48, 64),
            *_convolution(64, 96, stride=2),  # 4 x 4
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(96 * 4 * 4, 10))

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(pixels))
        return logits


def _convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    # Without a bias: the batch normalisation that follows has its own, and both are folded into one when exported.
    return nn.Conv2d(inputs, outputs, size, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def build() -> nn.Module:
    return FashionNet()


def build_student() -> nn.Module:
    return FashionStudent()
