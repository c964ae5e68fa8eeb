"""One second of speech by each of four announcers: the slices that `train.py` cut and that are committed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
ANNOUNCERS = ("allison", "carlo", "ivrvoice", "june")
RATE = 8000  # Hz

Samples = tuple[NDArray[np.float32], NDArray[np.int64]]


def evaluation(limit: int | None = None) -> Samples:
    """Clips (n, 8000) in −1…1 of phrases that no clip of training or calibration speaks, and labels (n,)."""
    return _read("evaluation", limit)


def calibration(limit: int | None = None) -> Samples:
    """Clips of phrases that neither training nor evaluation has."""
    return _read("calibration", limit)


def _read(part: str, limit: int | None) -> Samples:
    with np.load(HERE / f"{part}.npz", allow_pickle=False) as stored:
        clips, labels = stored["clips"][:limit], stored["labels"][:limit]
    return clips.astype(np.float32) / np.float32(1 << 15), labels.astype(np.int64)
