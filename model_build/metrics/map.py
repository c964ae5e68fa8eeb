"""`map`: mean average precision of object detection, by COCO's definition and its own code.

A box is right where its class is the object's and their intersection over union reaches a limit; each object counts
once. The precision is averaged over 101 steps of recall, over ten limits from 0.50 to 0.95, and over the classes that
occur. `map50` and `map75` are the same with one limit alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_build.errors import UserError
from model_build.metrics.base import Result
from model_build.quiet import quiet

VERSION = 1
LIBRARIES: tuple[str, ...] = ("pycocotools",)
SIDES = ("xmin", "ymin", "xmax", "ymax")
MOST = 100
"""Boxes of one picture that count, the best ones, as COCO has it."""


def problem(reference: Any, labels: Sequence[str]) -> str:
    """References are `[{"label", "box": {"xmin", "ymin", "xmax", "ymax"}}, …]`, in fractions of the picture; a picture
    may show nothing."""
    if not isinstance(reference, list):
        return f"must be a list of objects, not {reference!r:.60}"
    for one in reference:
        box = one.get("box") if isinstance(one, Mapping) else None
        if not isinstance(box, Mapping) or one.keys() != {"label", "box"} or box.keys() != {*SIDES}:
            return f'must hold objects like {{"label": …, "box": {{"xmin", "ymin", "xmax", "ymax"}}}}, not {one!r:.80}'
        if labels and one["label"] not in labels:
            return f"names '{one['label']}', which is none of the spec's labels"
        if any(isinstance(at, bool) or not isinstance(at, (int, float)) for at in box.values()):
            return f"has a box whose sides are no numbers: {box!r:.80}"
        left, top, right, bottom = (box[side] for side in SIDES)
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            return f"has a box that is none in fractions of the picture, 0 to 1: {box!r:.80}"
    return ""


def score(answers: Sequence[Any], references: Sequence[Any]) -> Result:
    """Raises UserError where no picture shows anything: there would be nothing to average."""
    if not any(references):
        raise UserError(
            "the metric map needs at least one object in the evaluation data", "return samples that show some"
        )
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    labels = sorted({one["label"] for found in (*answers, *references) for one in found or ()})
    classes = {label: number for number, label in enumerate(labels, start=1)}  # 0 stands for none in the library

    def collection(pictures: Sequence[Any]) -> Any:
        rows = [(image, one) for image, found in enumerate(pictures, start=1) for one in found or ()]
        made = COCO()
        made.dataset = {
            "images": [{"id": image} for image in range(1, len(references) + 1)],
            "categories": [{"id": number} for number in classes.values()],
            "annotations": [_annotation(number, *row, classes) for number, row in enumerate(rows, start=1)],
        }
        made.createIndex()
        return made

    with quiet():  # it prints its table
        evaluation = COCOeval(collection(references), collection(answers), "bbox")
        evaluation.params.maxDets = [1, 10, MOST]  # its table knows only three
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    value, at_50, at_75 = (float(one) for one in evaluation.stats[:3])
    return Result(value, {"map50": at_50, "map75": at_75})


def _annotation(number: int, image: int, one: Mapping[str, Any], classes: Mapping[str, int]) -> dict[str, Any]:
    """One box as the library has it: corner, width and height."""
    left, top, right, bottom = (one["box"][side] for side in SIDES)
    box = [left, top, right - left, bottom - top]
    return {
        "id": number,
        "image_id": image,
        "category_id": classes[one["label"]],
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        "score": one.get("score", 1.0),
    }
