"""Trains the committed weights: `python -m examples.fashion.train`, minutes on two cores.

The training images come from the Debian package `dataset-fashion-mnist`; only this script needs it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from examples import training
from examples.fashion import data, model

EPOCHS = 14
BATCH = 256
PEAK_RATE = 0.004
CALIBRATION = 512
SAMPLE = 0  # Of the test images: an ankle boot.
MEAN, STD = 0.286, 0.353  # Of the training images, scaled to 0…1; the spec states the same.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    arguments = parser.parse_args()
    training.start()
    images, labels = data.read(arguments.data, "train")
    network = fit(normalise(images), torch.from_numpy(labels))

    save_file(network.state_dict(), data.HERE / "weights.safetensors")
    drawn = np.random.default_rng(training.SEED).permutation(len(images))[:CALIBRATION]
    np.savez_compressed(
        data.HERE / "calibration.npz", images=images[drawn], labels=labels[drawn].astype(np.uint8), indices=drawn
    )
    for part in ("images-idx3", "labels-idx1"):
        shutil.copyfile(arguments.data / f"t10k-{part}-ubyte.gz", data.HERE / f"t10k-{part}-ubyte.gz")
    test_images, test_labels = data.evaluation()
    Image.fromarray(test_images[SAMPLE]).save(data.HERE / "sample.png")
    score = training.accuracy(network, (normalise(test_images),), torch.from_numpy(test_labels))
    training.record(data.HERE, score=score, samples=len(test_labels), epochs=EPOCHS)


def fit(pixels: Tensor, labels: Tensor) -> nn.Module:
    """The test images are not looked at."""
    network = model.build().to(memory_format=torch.channels_last)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)

    def loss(chosen: Tensor) -> Tensor:
        value: Tensor = loss_of(network(augmented(pixels[chosen])), labels[chosen])
        return value

    training.fit(network, len(labels), loss, epochs=EPOCHS, batch=BATCH, peak_rate=PEAK_RATE)
    return network.to(memory_format=torch.contiguous_format)


def augmented(pixels: Tensor) -> Tensor:
    """Half of the images mirrored, and the batch moved by up to two pixels."""
    mirrored = torch.where(torch.rand(len(pixels), 1, 1, 1) < 0.5, pixels.flip(3), pixels)
    top, left = (int(shift) for shift in torch.randint(0, 5, (2,)))
    border = float(pixels.min())  # Black, as the images' own background.
    moved = nn.functional.pad(mirrored, (2, 2, 2, 2), value=border)[:, :, top : top + 28, left : left + 28]
    return moved.contiguous(memory_format=torch.channels_last)


def normalise(images: np.ndarray) -> Tensor:
    """Images (n, 28, 28) as the endpoint's preprocessing gives them: float32 (n, 1, 28, 28)."""
    return torch.from_numpy(((images[:, None].astype(np.float32) / 255) - MEAN) / STD)


if __name__ == "__main__":
    main()
