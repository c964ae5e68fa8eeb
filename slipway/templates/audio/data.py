"""Half a second of a sine, a square wave or noise, made from a seed. Replace it by your own recordings.

A factory returns `(samples, labels)`. A sample of an audio task is float32 (time,) in -1…1 at the spec's sample rate.
Labels are int64.
"""

from __future__ import annotations

import numpy as np

LABELS = ("sine", "square", "noise")
RATE, SECONDS = 8000, 0.5

Samples = tuple[list[np.ndarray], np.ndarray]


def evaluation() -> Samples:
    """Of another seed than training's: the gates judge by sounds that training has not heard."""
    return _made(seed=2, count=150)


def calibration() -> Samples:
    return _made(seed=3, count=90)


def training() -> Samples:
    return _made(seed=1, count=450)


def _made(seed: int, count: int) -> Samples:
    random = np.random.default_rng(seed)
    time = np.arange(int(RATE * SECONDS)) / RATE
    sounds, labels = [], np.arange(count, dtype=np.int64) % len(LABELS)
    for label in labels:
        tone = np.sin(2 * np.pi * random.uniform(200, 800) * time + random.uniform(0, 2 * np.pi))
        wave = (tone, np.sign(tone), random.uniform(-1, 1, len(time)))[label]
        hiss = random.normal(0, 0.05, len(time))
        sounds.append(np.clip(random.uniform(0.3, 0.9) * wave + hiss, -1, 1).astype(np.float32))
    return sounds, labels
