"""What training does to the clips of a voice, so that it hears more throats, tempos and lines than there are.

Apart from `train` because only its draws stand here.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from examples.spoken_digits import data

Voice = list[data.Signal]
"""A clip of each word, in the order of `data.WORDS`."""


def string(voice: Voice, random: np.random.Generator) -> tuple[data.Signal, str]:
    """A string of the voice through one line, and its text."""
    line = _Line(random)
    words = [[line(_played(clip, random))] for clip in voice]
    return data.compose(words, random, noise=(-75, -28), gain=10)


class _Line:
    """A telephone line: its band, the slope of its spectrum, and as often as not mu-law's 8 bits."""

    def __init__(self, random: np.random.Generator) -> None:
        self.low, self.high = random.uniform(20, 400), random.uniform(2800, 4000)  # Hz, 3 dB down.
        self.slope = random.normal(0, 3)  # dB per octave, about 1 kHz.
        self.coded = random.random() < 0.5

    def __call__(self, clip: data.Signal) -> data.Signal:
        frequencies = np.fft.rfftfreq(len(clip), 1 / data.RATE).clip(1)
        response = (frequencies / 1000) ** (self.slope / 6.02)
        response /= np.sqrt(1 + (self.low / frequencies) ** 6) * np.sqrt(1 + (frequencies / self.high) ** 16)
        passed = np.fft.irfft(np.fft.rfft(clip) * response, len(clip)).astype(np.float32)
        passed *= np.abs(clip).max() / max(1e-3, float(np.abs(passed).max()))
        return _mu_law(passed) if self.coded else passed


def _mu_law(clip: data.Signal) -> data.Signal:
    """Rounded as ITU-T G.711 does, in its continuous form."""
    codes = np.rint(np.log1p(255 * np.abs(clip)) / np.log(256) * 127) / 127
    rounded: data.Signal = (np.sign(clip) * np.expm1(codes * np.log(256)) / 255).astype(np.float32)
    return rounded


def _played(clip: data.Signal, random: np.random.Generator) -> data.Signal:
    """At another speed, which moves pitch and formants too, and which drifts within the word; its level is another."""
    length = round(len(clip) / random.uniform(0.8, 1.25))
    time = np.linspace(0, 1, length)
    drift = random.uniform(-0.12, 0.12, 2)
    time = time + drift[0] * np.sin(np.pi * time) / np.pi + drift[1] * np.sin(2 * np.pi * time) / (2 * np.pi)
    played = np.interp(time * (len(clip) - 1), np.arange(len(clip)), clip).astype(np.float32)
    levelled: data.Signal = played / max(1e-3, float(np.abs(played).max())) * np.float32(random.uniform(0.25, 0.8))
    return levelled


def coloured(features: Tensor, random: np.random.Generator) -> Tensor:
    """Features (n, mels, frames), each string's changed: its formants moved, its contrast, a slope and a bend of its
    spectrum, and blots over some bands and some frames."""
    count, mels, frames = features.shape
    features = _moved(features, random.uniform(0.9, 1.12, count), random.uniform(-1, 1, count))
    features = features * torch.from_numpy(random.uniform(0.8, 1.2, (count, 1, 1)).astype(np.float32))
    band = torch.linspace(-1, 1, mels)
    slope, bend = torch.from_numpy(random.standard_normal((2, count, 1)).astype(np.float32))
    features = features + 0.8 * (slope * band + bend * (band**2 - band.square().mean()))[:, :, None]
    for row in features:
        for _ in range(2):
            first = int(random.integers(mels - 6))
            row[first : first + int(random.integers(7))] = 0
        for _ in range(3):
            first = int(random.integers(frames - 8))
            row[:, first : first + int(random.integers(9))] = 0
    return features


def _moved(features: Tensor, factors: NDArray[np.float64], offsets: NDArray[np.float64]) -> Tensor:
    """Each string's bands read at `factor` × band + `offset`, as of a longer or shorter vocal tract."""
    mels = features.shape[1]
    places = torch.from_numpy(np.arange(mels) * factors[:, None] + offsets[:, None]).float().clamp(0, mels - 1)
    below = places.long().clamp(max=mels - 2)
    share = (places - below)[:, :, None]
    index = below[:, :, None].expand_as(features)
    return features.gather(1, index) * (1 - share) + features.gather(1, index + 1) * share
