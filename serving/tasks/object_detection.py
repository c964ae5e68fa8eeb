"""The task object-detection: pictures in, the objects on each with their boxes out.

Requests are those of image-classification. Answers, as the Hugging Face pipeline gives them, best first:
`[{"score", "label", "box": {"xmin", "ymin", "xmax", "ymax"}}, …]` in whole pixels of the client's own picture, upright;
a list of those for a list of pictures.

| parameter | default | |
|---|---|---|
| `threshold` | `detection.score_threshold` | the lowest score that is answered, 0 to 1 |
| `normalized` | false | true: boxes in fractions of the picture's width and height, not rounded |

The model's outputs are `boxes` (batch, anchors, 4), x0 y0 x1 y1 in fractions of the picture, and `logits` (batch,
anchors, classes); with `activation: softmax` one class more, the last, which stands for no object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from serving.config import Detection, ServingConfig
from serving.errors import ModelError, RequestError
from serving.tasks import pictures
from serving.tasks.classification import probabilities
from serving.tasks.request import Body, Request, any_batch, chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.tasks.classification import Arrays

CONTENT_TYPES, REQUIREMENTS = pictures.CONTENT_TYPES, pictures.REQUIREMENTS
OUTPUTS = ("boxes", "logits")
MEASURED = {"threshold": 0.05, "normalized": True}
"""The parameters of what metrics compare: a mean average precision judges how boxes are ranked, the unlikely ones too,
and its references know no pixels."""
MOST_CANDIDATES = 1000
"""Of one picture, the likeliest: a threshold near 0 would otherwise compare every box with every other."""
SIDES = ("xmin", "ymin", "xmax", "ymax")

Array = np.ndarray[Any, Any]
Found = list[dict[str, Any]]

batch_key, join = any_batch, chain
encode, input_axes = pictures.encode, pictures.input_axes


def decode_request(body: Body, content_type: str | None, config: ServingConfig) -> Request:
    """The pictures of a request as uint8 arrays of the client's size. Raises RequestError."""
    request = pictures.decode_request(body, content_type, config, ("threshold", "normalized"))
    threshold, normalized = (request.parameters.get(name) for name in ("threshold", "normalized"))
    if threshold is not None and (
        isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1
    ):
        raise RequestError(400, f"threshold must be a number from 0 to 1, not {threshold!r:.40}")
    if normalized is not None and not isinstance(normalized, bool):
        raise RequestError(400, f"normalized must be true or false, not {normalized!r:.40}")
    return request


def postprocess(outputs: Arrays, config: ServingConfig, threshold: float | None = None) -> list[Found]:
    """For each picture what is on it with a score of at least `threshold`, best first; boxes in fractions.

    Raises ModelError where the model's outputs are no boxes with a score for each label.
    """
    section = _section(config)
    boxes, logits = (np.asarray(outputs[name], np.float32) for name in OUTPUTS)
    classes = len(config.labels) + (section.activation == "softmax")
    if boxes.ndim != 3 or boxes.shape[2] != 4 or logits.ndim != 3 or logits.shape[:2] != boxes.shape[:2]:
        raise ModelError(f"the model's boxes have shape {boxes.shape} and its logits {logits.shape}")
    if config.labels and logits.shape[2] != classes:
        raise ModelError(
            f"the model's logits have shape {logits.shape}, but with activation {section.activation} "
            f"{len(config.labels)} labels make {classes} classes"
        )
    if not (np.isfinite(boxes).all() and np.isfinite(logits).all()):
        raise ModelError("the model's boxes or logits are not finite for this input")
    limit = section.score_threshold if threshold is None else threshold
    return [
        [
            {
                "score": float(score),
                "label": config.label(int(kind)),
                "box": dict(zip(SIDES, map(float, box), strict=True)),
            }
            for box, score, kind in zip(*detect(*one, section, limit), strict=True)
        ]
        for one in zip(boxes, logits, strict=True)
    ]


def answers(outputs: Arrays, samples: Sequence[Any], config: ServingConfig) -> list[Found]:
    """What a client gets that asks with the parameters `MEASURED`."""
    return postprocess(outputs, config, MEASURED["threshold"])


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets: the objects of one picture, or a list of such lists for a list of pictures."""
    found = postprocess(outputs, config, request.parameters.get("threshold"))
    if not request.parameters.get("normalized"):
        for objects, picture in zip(found, request.samples, strict=True):
            height, width = picture.shape[:2]
            for one in objects:
                box = one["box"]
                one["box"] = {side: round(box[side] * (width if side[0] == "x" else height)) for side in SIDES}
    return found[0] if request.single else found


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return OUTPUTS


def detect(boxes: Array, logits: Array, section: Detection, threshold: float) -> tuple[Array, Array, Array]:
    """Of one picture's boxes (anchors, 4) and logits (anchors, classes): the boxes (n, 4) within the picture, scores
    and classes (n,) that are left, best first; equal scores keep the model's order. Boxes without an area are left out.

    With a sigmoid a box may be several classes' at once; with softmax it is its best one's, as that is what the classes
    were made to compete for.
    """
    if section.activation == "softmax":
        scores = probabilities(logits)[:, :-1]
        anchors = np.arange(len(scores))
        kinds = scores.argmax(axis=1)
        scores = scores[anchors, kinds]
    else:
        scores = (0.5 + 0.5 * np.tanh(0.5 * logits)).ravel()  # a sigmoid whose powers cannot overflow
        anchors, kinds = np.divmod(np.arange(len(scores)), logits.shape[1])
    boxes = boxes.clip(0, 1)
    valid: Array = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    chosen = np.flatnonzero((scores >= threshold) & valid[anchors])
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:MOST_CANDIDATES]
    boxes, scores, kinds = boxes[anchors[chosen]], scores[chosen], kinds[chosen]
    limit = section.max_detections
    kept = suppress(boxes, kinds, section.iou_threshold, limit) if section.nms else np.arange(len(chosen))[:limit]
    return boxes[kept], scores[kept], kinds[kept]


def suppress(boxes: Array, kinds: Array, iou_threshold: float, limit: int) -> Array:
    """Non-maximum suppression: the positions, at most `limit`, of boxes (n, 4) that overlap none kept before them of
    the same class (n,) by more than `iou_threshold`. The boxes come best first.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left) and len(kept) < limit:
        first, left = left[0], left[1:]
        kept.append(first)
        corners = np.maximum(boxes[left, :2], boxes[first, :2]), np.minimum(boxes[left, 2:], boxes[first, 2:])
        shared = (corners[1] - corners[0]).clip(0).prod(axis=1)
        overlaps = shared > iou_threshold * (areas[left] + areas[first] - shared)
        left = left[~overlaps | (kinds[left] != kinds[first])]
    return np.array(kept, np.intp)


def _section(config: ServingConfig) -> Detection:
    if config.detection is None:
        raise ModelError("slipway.json: detection: is missing")
    return config.detection
