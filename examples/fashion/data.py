"""Fashion-MNIST: the 10,000 test images for evaluation, 512 training images for calibration."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent

Samples = tuple[NDArray[np.uint8], NDArray[np.int64]]


def evaluation(limit: int | None = None) -> Samples:
    """The test set in its own order (its classes are mixed): images (n, 28, 28), white on black, and labels (n,)."""
    return read(HERE, "t10k", limit)


def calibration(limit: int | None = None) -> Samples:
    """Training images that `train.py` drew by its seed: no image of the test set is among them."""
    with np.load(HERE / "calibration.npz", allow_pickle=False) as stored:
        return stored["images"][:limit], stored["labels"][:limit].astype(np.int64)


def read(folder: Path, part: str, limit: int | None = None) -> Samples:
    """The images and labels of `part`, `train` or `t10k`, from a folder with the data set's four files."""
    # The IDX format: a big-endian magic number and one length per axis, then the bytes.
    images = np.frombuffer(gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return images.reshape(-1, 28, 28)[:limit], labels[:limit].astype(np.int64)
