"""The task object-detection: boxes in the client's pixels, what is suppressed, and what a request may ask for."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from serving_artifacts import LABELS, png, write_artifact

from serving.config import Detection, ServingConfig
from serving.errors import ModelError, RequestError
from serving.handler import Model, predict_all, predict_fn
from serving.tasks import object_detection as task
from serving.tasks.request import Request

TASK = "object-detection"
BLACK = np.zeros((20, 40), np.uint8)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("detection") / "artifact", TASK, code=False)


@pytest.fixture(scope="module")
def model(directory: Path) -> Model:
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    return Model(ServingConfig.read(directory), task, session)  # type: ignore[arg-type]


def config_of(classes: int = 2, **section: Any) -> ServingConfig:
    values = {"name": "n", "task": TASK, "labels": [f"c{index}" for index in range(classes)]}
    return ServingConfig.from_dict(values | {"image": {"size": [4, 4], "mode": "L"}, "detection": section}, Path())


def asked(model: Model, picture: np.ndarray, **parameters: Any) -> Any:
    body = json.dumps({"inputs": base64.b64encode(png(picture)).decode(), "parameters": parameters})
    return predict_fn(task.decode_request(body, "application/json", model.config), model)


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def test_boxes_are_whole_pixels_of_the_clients_picture_best_first(model: Model) -> None:
    # the second anchor overlaps the first, of its class, by 0.83
    assert asked(model, BLACK) == [
        {
            "score": pytest.approx(sigmoid(2)),
            "label": LABELS[0],
            "box": {"xmin": 0, "ymin": 0, "xmax": 20, "ymax": 10},
        },
        {
            "score": pytest.approx(sigmoid(0.5)),
            "label": LABELS[1],
            "box": {"xmin": 20, "ymin": 5, "xmax": 40, "ymax": 20},
        },
    ]


def test_a_threshold_takes_the_place_of_the_sections(model: Model) -> None:
    assert [one["label"] for one in asked(model, BLACK, threshold=0.7)] == [LABELS[0]]
    assert asked(model, BLACK, threshold=1) == []
    assert len(asked(model, BLACK, threshold=0)) == 3  # the section's max_detections


def test_normalized_boxes_are_fractions(model: Model) -> None:
    boxes = [one["box"] for one in asked(model, BLACK, normalized=True)]
    assert boxes[1] == {"xmin": 0.5, "ymin": 0.25, "xmax": 1.0, "ymax": 1.0}


def test_several_pictures_have_a_list_each_in_pixels_of_their_own(model: Model) -> None:
    files = [base64.b64encode(png(picture)).decode() for picture in (BLACK, np.zeros((4, 4), np.uint8))]
    request = task.decode_request(json.dumps({"inputs": files}), "application/json", model.config)
    answers = predict_fn(request, model)
    assert [[one["box"]["xmax"] for one in found] for found in answers] == [[20, 40], [2, 4]]


def test_requests_that_share_a_pass_keep_their_own_parameters_and_sizes(model: Model) -> None:
    bodies: list[Any] = [{}, {"threshold": 0.7}, {"normalized": True}]
    pictures = [BLACK, np.zeros((8, 8), np.uint8), BLACK]
    requests = [Request([picture], True, one) for picture, one in zip(pictures, bodies, strict=True)]
    assert len({task.batch_key(request) for request in requests}) == 1
    together = predict_all(requests, model)
    assert together == [predict_fn(request, model) for request in requests]


def test_what_metrics_compare_is_what_a_client_with_their_parameters_gets(model: Model) -> None:
    outputs = dict(zip(task.OUTPUTS, model.session.run(task.OUTPUTS, task.encode([BLACK], model.config)), strict=True))
    assert task.answers(outputs, [None], model.config) == [asked(model, BLACK, **task.MEASURED)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": "high"}, "threshold must be a number from 0 to 1, not 'high'"),
        ({"threshold": True}, "threshold must be a number from 0 to 1"),
        ({"threshold": 1.01}, "threshold must be a number from 0 to 1"),
        ({"threshold": -0.1}, "threshold must be a number from 0 to 1"),
        ({"normalized": 1}, "normalized must be true or false, not 1"),
        ({"top_k": 1}, "unknown parameter 'top_k'; known: threshold, normalized"),
    ],
)
def test_a_parameter_that_is_none_is_a_400(model: Model, parameters: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        asked(model, BLACK, **parameters)
    assert caught.value.status_code == 400


def test_softmax_leaves_the_last_class_out() -> None:
    config = config_of(2, activation="softmax", nms=False, score_threshold=0.3)
    logits = np.log(np.array([[[0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.1, 0.4, 0.5]]], np.float32))
    boxes = np.broadcast_to(np.array([0, 0, 0.5, 1], np.float32), (1, 3, 4))
    (found,) = task.postprocess({"boxes": boxes, "logits": logits}, config)
    assert [(one["label"], round(one["score"], 3)) for one in found] == [("c0", 0.6), ("c1", 0.4)]


def test_boxes_are_cut_to_the_picture_and_those_without_area_left_out() -> None:
    boxes = np.array([[[-0.5, -0.1, 0.5, 1.5], [0.5, 0.5, 0.4, 0.6], [1.1, 0, 1.5, 1]]], np.float32)
    (found,) = task.postprocess({"boxes": boxes, "logits": np.full((1, 3, 1), 4, np.float32)}, config_of(1))
    assert [one["box"] for one in found] == [{"xmin": 0.0, "ymin": 0.0, "xmax": 0.5, "ymax": 1.0}]


def test_logits_of_any_size_are_scores_without_overflow() -> None:
    boxes = np.array([[[0, 0, 0.4, 0.4], [0.5, 0.5, 1, 1]]], np.float32)
    logits = np.array([[[1e30], [-1e30]]], np.float32)
    (found,) = task.postprocess({"boxes": boxes, "logits": logits}, config_of(1), 0)
    assert [one["score"] for one in found] == [1, 0]


@pytest.mark.parametrize(
    ("boxes", "logits", "section", "message"),
    [
        ((1, 3, 4), (1, 3, 3), {}, "2 labels make 2 classes"),
        ((1, 3, 4), (1, 3, 2), {"activation": "softmax"}, "2 labels make 3 classes"),
        ((1, 3, 4), (1, 2, 2), {}, "the model's boxes have shape"),
        ((1, 3, 5), (1, 3, 2), {}, "the model's boxes have shape"),
        ((3, 4), (3, 2), {}, "the model's boxes have shape"),
    ],
)
def test_outputs_of_other_shapes_are_the_models_fault(boxes: Any, logits: Any, section: Any, message: str) -> None:
    outputs = {"boxes": np.zeros(boxes, np.float32), "logits": np.zeros(logits, np.float32)}
    with pytest.raises(ModelError, match=message):
        task.postprocess(outputs, config_of(2, **section))


def test_outputs_that_are_not_finite_are_the_models_fault() -> None:
    outputs = {"boxes": np.zeros((1, 1, 4), np.float32), "logits": np.full((1, 1, 2), np.nan, np.float32)}
    with pytest.raises(ModelError, match="not finite"):
        task.postprocess(outputs, config_of(2))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"score_threshold": 1.5}, r"detection\.score_threshold: must be from 0 to 1"),
        ({"nms": 1}, r"detection\.nms: must be true or false, not 1"),
        ({"max_detections": 0}, r"detection\.max_detections: must be above 0"),
        ({"activation": "relu"}, r"detection\.activation: 'relu' is not one of sigmoid, softmax"),
    ],
)
def test_a_section_that_is_wrong_names_its_key(section: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        config_of(2, **section)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random boxes, some of them twice, and the classes they are of."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 60))
    corners = random.random((count, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    boxes[random.random(count) < 0.2] = boxes[0]
    return boxes, random.integers(0, 3, count)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(shared / (sum(areas) - shared))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("limit", [0.0, 0.3, 0.7])
def test_what_is_kept_is_what_the_definition_keeps(seed: int, limit: float) -> None:
    boxes, kinds = drawn(seed)
    kept = task.suppress(boxes, kinds, limit, 100).tolist()
    expected: list[int] = []
    for index, (box, kind) in enumerate(zip(boxes.astype(np.float64), kinds, strict=True)):
        rivals = (iou(box, boxes[other].astype(np.float64)) for other in expected if kinds[other] == kind)
        if all(overlap <= limit for overlap in rivals):
            expected.append(index)
    assert kept == expected


@pytest.mark.parametrize("seed", range(10))
def test_suppression_is_idempotent_and_its_limit_keeps_the_best(seed: int) -> None:
    boxes, kinds = drawn(seed)
    kept = task.suppress(boxes, kinds, 0.4, 100)
    again = task.suppress(boxes[kept], kinds[kept], 0.4, 100)
    assert again.tolist() == list(range(len(kept)))
    assert task.suppress(boxes, kinds, 0.4, 3).tolist() == kept[:3].tolist()


@pytest.mark.parametrize("seed", range(10))
def test_equally_sharp_boxes_of_other_classes_do_not_suppress_each_other(seed: int) -> None:
    boxes, _ = drawn(seed)
    assert len(task.suppress(boxes, np.arange(len(boxes)), 0.0, 100)) == len(boxes)


def test_a_threshold_of_zero_compares_the_likeliest_boxes_alone() -> None:
    random = np.random.default_rng(0)
    corners = random.random((5000, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    logits = random.normal(size=(5000, 1)).astype(np.float32)
    section = replace(Detection(), iou_threshold=1.0, max_detections=5000)
    found, scores, _ = task.detect(boxes, logits, section, 0.0)
    assert len(found) == task.MOST_CANDIDATES
    assert scores.min() > np.median(1 / (1 + np.exp(-logits)))
