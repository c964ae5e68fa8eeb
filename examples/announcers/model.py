"""The architecture: four strided convolutions over a log-mel spectrogram, 0.24 million parameters."""

from __future__ import annotations

from torch import Tensor, nn

ANNOUNCERS = 4


class AnnouncerNet(nn.Module):
    """Log-mel features, float32 (batch, mels, frames), to logits (batch, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 32), *_convolution(32, 64), *_convolution(64, 128), *_convolution(128, 128, stride=1)
        )
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, 4))

    def forward(self, features: Tensor) -> Tensor:
        # Each band's mean over time goes: much of it is the microphone's and the line's, and would tell studios apart.
        centred = features - features.mean(dim=2, keepdim=True)
        logits: Tensor = self.classifier(self.features(centred[:, None]))
        return logits


def _convolution(inputs: int, outputs: int, stride: int = 2) -> tuple[nn.Module, ...]:
    # Without a bias: the batch normalisation that follows has its own, and both are folded into one when exported.
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def build() -> AnnouncerNet:
    return AnnouncerNet()
