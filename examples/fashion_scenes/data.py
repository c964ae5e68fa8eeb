"""Scenes: two to five garments of Fashion-MNIST at random places and sizes, on a canvas of dim, uneven grey.

They are put together anew on every call, from a fixed seed and committed pictures: those to be measured on from the
data set's test images, those to calibrate with from its training images. No picture is in both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from examples.fashion import data as fashion

HERE = Path(__file__).parent

SIZE = 96
SMALLEST, LARGEST = 22, 52
"""Side of a garment's square before its empty border is cut, pixels."""
MOST = 5
OVERLAP = 0.2
"""Of the smaller of two boxes: garments that cover each other more are placed again."""
SEEN = 48
"""Brightness from which a pixel counts as the garment's; the canvas is darker."""
EVALUATION_SEED, CALIBRATION_SEED = 20261124, 20261125
LABELS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float32]
Scenes = tuple[Pixels, list[list[dict[str, Any]]]]


def evaluation(limit: int = 200) -> Scenes:
    """Scenes (n, 96, 96) of test images, and of each its objects: label and box, in fractions of the picture."""
    images, labels = fashion.evaluation()
    return _named(*compose(images, labels, limit, EVALUATION_SEED))


def calibration(limit: int = 64) -> Scenes:
    """The same of the 512 training images that the example `fashion` keeps for calibration."""
    images, labels = fashion.calibration()
    return _named(*compose(images, labels, limit, CALIBRATION_SEED))


def compose(
    images: Pixels, labels: NDArray[np.int64], count: int, seed: int
) -> tuple[Pixels, list[Boxes], list[NDArray[np.int64]]]:
    """`count` scenes of garments drawn from `images`, with the boxes (objects, 4), x0 y0 x1 y1 in pixels, and classes
    of each."""
    random = np.random.default_rng(seed)
    scenes = np.empty((count, SIZE, SIZE), np.uint8)
    boxes, classes = [], []
    for number in range(count):
        scene = _canvas(random)
        placed: list[tuple[int, int, int, int]] = []
        named = []
        wanted = int(random.integers(2, MOST + 1))
        for _ in range(4 * wanted):
            index = int(random.integers(len(images)))
            garment = _garment(images[index], int(random.integers(SMALLEST, LARGEST + 1)))
            height, width = garment.shape
            left, top = (int(random.integers(SIZE - side + 1)) for side in (width, height))
            box = (left, top, left + width, top + height)
            if any(_covered(box, other) > OVERLAP for other in placed):
                continue
            region = scene[top : top + height, left : left + width]
            np.copyto(region, np.maximum(region, garment))
            placed.append(box)
            named.append(int(labels[index]))
            if len(placed) == wanted:
                break
        scenes[number] = scene
        boxes.append(np.array(placed, np.float32))
        classes.append(np.array(named, np.int64))
    return scenes, boxes, classes


def _canvas(random: np.random.Generator) -> Pixels:
    """A dim slope of grey with grain."""
    low, across, down = random.uniform(0, 16, 3)
    ramp = np.linspace(0, 1, SIZE)
    grey = low + across * ramp[None, :] + down * ramp[:, None] + random.normal(0, 3, (SIZE, SIZE))
    return np.asarray(grey.clip(0, SEEN - 1).astype(np.uint8))


def _garment(image: Pixels, side: int) -> Pixels:
    """One picture resized to a square of `side`, cut to what is bright in it."""
    resized = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    bright = resized >= SEEN
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    if not len(rows):
        return resized
    return resized[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _covered(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """The shared area of two boxes, as a share of the smaller one's."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, other)]
    return max(width, 0) * max(height, 0) / min(areas)


def _named(scenes: Pixels, boxes: list[Boxes], classes: list[NDArray[np.int64]]) -> Scenes:
    """As the metric `map` takes them."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    return scenes, [
        [
            {"label": LABELS[kind], "box": {side: float(at) / SIZE for side, at in zip(sides, box, strict=True)}}
            for box, kind in zip(some, kinds, strict=True)
        ]
        for some, kinds in zip(boxes, classes, strict=True)
    ]
