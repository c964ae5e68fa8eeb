"""The examples that are no classifiers of one input: scenes with objects, and a table."""

from __future__ import annotations

import json

import numpy as np
import pytest
from shipped_examples import EXAMPLES, ROOT, read_specs

from examples.fashion import data as garments
from examples.fashion_scenes import data as scenes
from examples.fashion_scenes import model as detector
from examples.fashion_scenes import train as scene_training
from examples.penguins import data as penguins
from examples.penguins import train as penguin_training
from model_build import datasets
from model_build.metrics import METRICS
from model_build.spec import Spec
from serving.tasks import TASKS


@pytest.fixture(scope="module")
def specs() -> dict[str, Spec]:
    return read_specs(["fashion-scenes", "penguins"])


def test_scenes_are_the_same_at_every_call_and_a_limit_takes_their_beginning() -> None:
    (pictures, objects), (again, others) = scenes.evaluation(12), scenes.evaluation(12)
    few, few_objects = scenes.evaluation(5)
    assert pictures.shape == (12, 96, 96) and pictures.dtype == np.uint8
    assert np.array_equal(pictures, again) and objects == others
    assert np.array_equal(few, pictures[:5]) and few_objects == objects[:5]


def test_every_object_of_a_scene_is_a_reference_of_the_metric(specs: dict[str, Spec]) -> None:
    labels = specs["fashion-scenes"].labels
    assert labels == scenes.LABELS
    for factory in (scenes.evaluation, scenes.calibration):
        pictures, objects = factory()
        assert len(pictures) == len(objects) >= 64
        assert [METRICS["map"].problem(one, labels) for one in objects] == [""] * len(objects)
        assert {one["label"] for some in objects for one in some} == set(labels)
        assert all(1 <= len(some) <= scenes.MOST for some in objects)


def test_a_box_ends_where_its_garment_does() -> None:
    pictures, boxes, _ = scenes.compose(np.full((1, 28, 28), 200, np.uint8), np.zeros(1, np.int64), 6, seed=1)
    for picture, some in zip(pictures, boxes, strict=True):
        covered = np.zeros(picture.shape, bool)
        for left, top, right, bottom in some.astype(int):
            covered[top:bottom, left:right] = True
        assert np.array_equal(picture >= scenes.SEEN, covered)


def test_scenes_are_of_other_pictures_than_those_trained_on() -> None:
    measured = {image.tobytes() for image in garments.evaluation()[0]}
    assert not [image for image in garments.calibration()[0] if image.tobytes() in measured]


def test_cells_are_to_find_the_boxes_around_them_and_a_mirror_keeps_that() -> None:
    import torch

    boxes = [np.array([[8, 16, 48, 40]], np.float32)]
    wanted, kinds = scene_training.targets(boxes, [np.array([3])])
    cells = np.flatnonzero(kinds[0] == 3)
    centres = detector.SceneDetector().centres.numpy()[cells] * 96
    assert len(cells) and (abs(centres - [28, 28]) <= [10, 6]).all()
    np.testing.assert_allclose(wanted[0][cells], np.broadcast_to(boxes[0] / 96, (len(cells), 4)))
    mirrored = scene_training.mirrored(torch.zeros(1, 1, 96, 96), torch.from_numpy(wanted), torch.from_numpy(kinds))
    expected, _ = scene_training.targets([np.array([[48, 16, 88, 40]], np.float32)], [np.array([3])])
    np.testing.assert_allclose(mirrored[1][mirrored[2] >= 0], expected[expected.any(-1)], atol=1e-6)


def test_the_committed_detector_finds_what_its_record_says(specs: dict[str, Spec]) -> None:
    import torch
    from safetensors.torch import load_file

    network = detector.build()
    network.load_state_dict(load_file(EXAMPLES / "fashion_scenes/weights.safetensors"))
    network.eval()
    record = json.loads((EXAMPLES / "fashion_scenes/training.json").read_text("utf-8"))
    pictures, objects = scenes.evaluation()
    assert len(pictures) == record["samples"]
    assert scene_training.recall(network, pictures, objects) == pytest.approx(record["score"], abs=0.01)
    spec = specs["fashion-scenes"]
    config = datasets.serving_config(spec, ROOT)
    task = TASKS[spec.task]
    inputs = task.encode(list(pictures[:40]), config)
    np.testing.assert_allclose(inputs["pixels"], scene_training.normalise(pictures[:40]).numpy(), atol=1e-6)
    with torch.inference_mode():
        outputs = network(torch.from_numpy(inputs["pixels"]))
    found = task.answers(
        dict(zip(task.output_names(config), (one.numpy() for one in outputs), strict=True)), [None] * 40, config
    )
    assert METRICS["map"].score(found, objects[:40]).value > 0.7


def test_birds_are_in_one_part_each_and_all_species_in_both() -> None:
    seen, unseen = penguins.split(seen=True), penguins.evaluation()
    assert (len(seen[0]), len(unseen[0])) == (240, 104)
    assert set(seen[1]) == set(unseen[1]) == {0, 1, 2}
    assert sum(row["sex"] is None for row in (*seen[0], *unseen[0])) == 11


def test_rows_are_what_the_endpoint_gives_the_model(specs: dict[str, Spec]) -> None:
    rows, _ = penguins.evaluation()
    inputs = TASKS["tabular"].encode(rows, datasets.serving_config(specs["penguins"], ROOT))
    assert tuple(inputs) == (*penguins.TEXTS, *penguins.NUMBERS)
    table = penguin_training.table(rows)
    for place, array in enumerate(inputs.values()):
        column = table[:, place]
        if array.dtype.kind == "U":
            assert array[:, 0].tolist() == column.tolist()
        else:
            np.testing.assert_allclose(array[:, 0], column.astype(np.float32))


def test_the_committed_estimator_is_as_good_as_its_record(specs: dict[str, Spec]) -> None:
    from model_build.sources.allowlist import read_joblib

    estimator = read_joblib(EXAMPLES / "penguins/model.joblib")
    assert tuple(estimator.classes_) == penguins.SPECIES == specs["penguins"].labels
    rows, labels = penguins.evaluation()
    right = estimator.predict(penguin_training.table(rows)) == np.array(penguins.SPECIES)[labels]
    record = json.loads((EXAMPLES / "penguins/training.json").read_text("utf-8"))
    assert right.mean() == pytest.approx(record["score"], abs=0.01)
    assert min(record["cross_validation"]) > 0.9


@pytest.mark.parametrize("folder", ["fashion_scenes", "penguins"])
def test_the_notice_names_every_file_of_data(folder: str) -> None:
    notice = (EXAMPLES / "NOTICE.md").read_text("utf-8")
    files = [file for file in (EXAMPLES / folder).iterdir() if file.is_file() and file.suffix not in {".py", ".md"}]
    assert len(files) >= 3
    assert not [file.name for file in files if f"`{file.name}`" not in notice and file.name != "training.json"]
