"""Trains the committed weights: `python -m examples.fashion_scenes.train`, some minutes on one core.

Its scenes are made of Fashion-MNIST's training images, from the Debian package `dataset-fashion-mnist`; only this
script needs it. The pictures that the evaluation's scenes are made of are not looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from examples import training
from examples.fashion import data as fashion
from examples.fashion_scenes import data, model

SCENES = 12_000
EPOCHS = 12
BATCH = 64
PEAK_RATE = 0.006
CENTRE = 0.25
"""Cells within so much of a box's sides around its middle, of its width and height, are to find it."""
SAMPLE = 3  # Of the evaluation's scenes.
MEAN, STD = 0.19, 0.26  # Of such scenes, scaled to 0…1; the spec states the same.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    arguments = parser.parse_args()
    training.start()
    torch.set_num_threads(1)
    images, labels = fashion.read(arguments.data, "train")
    network = fit(*data.compose(images, labels, SCENES, training.SEED))

    save_file(network.state_dict(), data.HERE / "weights.safetensors")
    scenes, references = data.evaluation()
    Image.fromarray(scenes[SAMPLE]).save(data.HERE / "sample.png")
    training.record(
        data.HERE,
        metric="recall at 0.5",
        score=recall(network, scenes, references),
        samples=len(scenes),
        scenes=SCENES,
        epochs=EPOCHS,
        threads=1,
    )


def fit(scenes: data.Pixels, boxes: list[data.Boxes], classes: list[np.ndarray]) -> nn.Module:
    network = model.build().to(memory_format=torch.channels_last)
    pixels = normalise(scenes)
    wanted, kinds = (torch.from_numpy(part) for part in targets(boxes, classes))

    def loss(chosen: Tensor) -> Tensor:
        batch, box, kind = pixels[chosen], wanted[chosen], kinds[chosen]
        if torch.rand(()) < 0.5:
            batch, box, kind = mirrored(batch, box, kind)
        boxes, logits = network(batch.contiguous(memory_format=torch.channels_last))
        return loss_of(boxes, logits, box, kind)

    training.fit(network, len(scenes), loss, epochs=EPOCHS, batch=BATCH, peak_rate=PEAK_RATE)
    return network.to(memory_format=torch.contiguous_format)


def targets(boxes: list[data.Boxes], classes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of every cell the box (scenes, 144, 4) that it is to find, in fractions, and its class (scenes, 144); -1: none.

    A box belongs to the cells around its middle, at least the nearest one; of two, the smaller has a cell.
    """
    cells = model.SIZE // model.STRIDE
    at = (np.arange(cells) + 0.5) * model.STRIDE
    wanted = np.zeros((len(boxes), cells, cells, 4), np.float32)
    kinds = np.full((len(boxes), cells, cells), -1, np.int64)
    for number, (some, named) in enumerate(zip(boxes, classes, strict=True)):
        areas = (some[:, 2] - some[:, 0]) * (some[:, 3] - some[:, 1])
        for index in np.argsort(-areas, kind="stable"):
            left, top, right, bottom = some[index]
            columns, rows = (
                abs(at - (low + high) / 2) <= max(CENTRE * (high - low), model.STRIDE / 2)
                for low, high in ((left, right), (top, bottom))
            )
            around = np.ix_(rows, columns)
            wanted[number][around] = some[index] / model.SIZE
            kinds[number][around] = named[index]
    return wanted.reshape(len(boxes), -1, 4), kinds.reshape(len(boxes), -1)


def mirrored(pixels: Tensor, boxes: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    cells = model.SIZE // model.STRIDE
    turned = boxes.view(-1, cells, cells, 4).flip(2).flatten(1, 2)[..., [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1])
    return (
        pixels.flip(3),
        turned + torch.tensor([1.0, 0, 1, 0]),
        kinds.view(-1, cells, cells).flip(2).flatten(1),
    )


def loss_of(boxes: Tensor, logits: Tensor, wanted: Tensor, kinds: Tensor) -> Tensor:
    """Generalized focal loss (Li et al. 2020): a cell's likelihood is to be its box's overlap with the object; and
    generalized IoU (Rezatofighi et al. 2019) of the boxes."""
    found = kinds >= 0
    overlap, generalized = overlaps(boxes[found], wanted[found])
    quality = torch.zeros_like(logits)
    quality[found, kinds[found]] = overlap.detach()
    certain = (logits.sigmoid() - quality).abs().square()
    kind = (certain * functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")).sum()
    return (kind + 2 * (1 - generalized).sum()) / found.sum().clamp(min=1)


def overlaps(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalized IoU of boxes (n, 4) with boxes, pair by pair."""

    def area(boxes: Tensor) -> Tensor:
        return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)

    shared = area(torch.cat([torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])], 1))
    hull = area(torch.cat([torch.minimum(one[:, :2], other[:, :2]), torch.maximum(one[:, 2:], other[:, 2:])], 1))
    union = area(one) + area(other) - shared
    overlap = shared / union.clamp(min=1e-9)
    return overlap, overlap - (hull - union) / hull.clamp(min=1e-9)


@torch.inference_mode()
def recall(network: nn.Module, scenes: data.Pixels, references: list[list[dict[str, Any]]]) -> float:
    """Share of the objects that a box of their class with a likelihood of at least a half overlaps by half. The build
    measures the mean average precision, which counts boxes that find nothing too."""
    boxes, logits = network(normalise(scenes))
    found = total = 0
    for some, likely, objects in zip(boxes, logits.sigmoid(), references, strict=True):
        for one in objects:
            close, _ = overlaps(some, torch.tensor([list(one["box"].values())]).expand_as(some))
            found += bool(((close >= 0.5) & (likely[:, data.LABELS.index(one["label"])] >= 0.5)).any())
            total += 1
    return found / total


def normalise(scenes: data.Pixels) -> Tensor:
    """Scenes (n, 96, 96) as the endpoint's preprocessing gives them: float32 (n, 1, 96, 96)."""
    return torch.from_numpy((scenes[:, None].astype(np.float32) / 255 - MEAN) / STD)


if __name__ == "__main__":
    main()
