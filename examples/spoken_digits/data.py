"""Strings of digits as a telephone exchange reads them back: one recorded word after the other, composed here.

What is committed are the words, each once: an announcer's for the evaluation, a synthetic voice's for calibration.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 8000  # Hz
SECONDS = 4.0
LENGTH = round(RATE * SECONDS)
MOST = 7  # Words of one string.

Signal = NDArray[np.float32]
Samples = tuple[list[Signal], list[str]]


def evaluation(limit: int | None = 120) -> Samples:
    """Strings (time,) in −1…1 of an announcer whom training never heard, and what is said."""
    return _composed("evaluation", 20261124, limit or 120)


def calibration(limit: int | None = 64) -> Samples:
    """The same of a synthetic voice."""
    return _composed("calibration", 1, limit or 64)


def _composed(part: str, seed: int, count: int) -> Samples:
    with np.load(HERE / f"{part}.npz", allow_pickle=False) as stored:
        words = [[stored[word].astype(np.float32) / np.float32(1 << 15)] for word in WORDS]
    random = np.random.default_rng(seed)
    strings = [compose(words, random, noise=(-70, -40)) for _ in range(count)]
    return [signal for signal, _ in strings], [text for _, text in strings]


def compose(
    words: list[list[Signal]], random: np.random.Generator, noise: tuple[float, float], gain: float = 6
) -> tuple[Signal, str]:
    """A string of one to seven words that fits into `SECONDS`, and its text.

    `words` are the clips of each word. Pauses are 20 to 300 ms, the level is off by up to `gain` dB, and white noise
    lies `noise` dB below full scale, all drawn at random.
    """
    parts: list[Signal] = [_silence(random, 0.4)]
    said: list[str] = []
    for _ in range(random.integers(1, MOST + 1)):
        word = int(random.integers(len(WORDS)))
        clip = words[word][int(random.integers(len(words[word])))]
        if sum(map(len, parts)) + len(clip) > LENGTH - RATE // 10:
            break
        parts += [clip, _silence(random, 0.3)]
        said.append(WORDS[word])
    signal = np.concatenate(parts)[:LENGTH] * np.float32(10 ** (random.uniform(-gain, gain) / 20))
    signal += random.standard_normal(len(signal), np.float32) * np.float32(10 ** (random.uniform(*noise) / 20))
    return np.clip(signal, -1, 1), " ".join(said)


def _silence(random: np.random.Generator, longest: float) -> Signal:
    return np.zeros(round(RATE * random.uniform(0.02, longest)), np.float32)
