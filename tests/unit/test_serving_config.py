"""`slipway.json` is checked key by key, and the artifact's files against their digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from serving_artifacts import SECTIONS, write_artifact

from serving.config import SECTIONS as SECTION_OF_TASK
from serving.config import ServingConfig
from serving.errors import ModelError
from serving.tasks import TASKS

BASE: dict[str, Any] = {"format": 1, "name": "tiny", "task": "image-classification", "labels": ["a", "b"]}


@pytest.mark.parametrize("task", TASKS)
def test_a_good_configuration_is_the_same_from_disk_and_from_memory(task: str, tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", task, code=False)
    read = ServingConfig.read(directory)
    read.verify_files()
    assert ServingConfig.from_dict(json.loads((directory / "slipway.json").read_text()), directory) == read
    assert read.path(read.model).is_file()


def test_every_task_has_a_section() -> None:
    assert TASKS.keys() == SECTION_OF_TASK.keys() == SECTIONS.keys()


def test_a_build_passes_tuples_and_an_absolute_asset_and_leaves_files_out(tmp_path: Path) -> None:
    text = {"tokenizer": str(tmp_path / "tokenizer.json")}
    config = ServingConfig.from_dict({"name": "n", "task": "text-classification", "text": text}, Path("elsewhere"))
    assert config.text is not None
    assert config.path(config.text.tokenizer) == tmp_path / "tokenizer.json"
    values = {"name": "n", "task": "image-classification", "image": {"size": (8, 9)}}
    image = ServingConfig.from_dict(values, tmp_path).image
    assert image is not None
    assert image.size == (8, 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2 is not 1"),
        ({"task": "tables"}, "task: 'tables' is not one of text-classification"),
        ({"name": None}, "name: must be a string"),
        ({"labels": [1]}, "labels: each must be a string, not 1"),
        ({"image": None}, "image: must be an object"),
        ({"image": {}}, "image.size: is missing"),
        ({"image": {"size": [4]}}, "image.size: must be height and width"),
        ({"image": {"size": [0, 4]}}, "image.size: must be height and width"),
        ({"image": {"size": [True, 4]}}, "image.size: each must be an integer"),
        ({"image": {"size": [4, 4], "mode": "CMYK"}}, "image.mode: 'CMYK' is not one of L, RGB"),
        ({"image": {"size": [4, 4], "mean": [0.1, 0.2]}}, "image.mean: must have 1 or 3 values, not 2"),
        ({"image": {"size": [4, 4], "std": [0.0]}}, "image.std: must not be 0"),
        ({"model": "../model.onnx"}, "model: '../model.onnx' must be a path inside the artifact"),
        ({"files": {"/etc/passwd": "0" * 64}}, "files: '/etc/passwd' must be a path inside the artifact"),
        ({"files": {"model.onnx": "abc"}}, "files.model.onnx: must be a SHA-256"),
        ({"task": "audio-classification", "audio": {"seconds": 0}}, "audio.seconds: must be above 0, not 0"),
        (
            {"task": "audio-classification", "audio": {"features": "log_mel", "seconds": 0.01}},
            "audio.window: 400 samples are longer than the clip's 160",
        ),
        ({"task": "tensor", "tensor": {"inputs": {}}}, "tensor: needs at least one input"),
        ({"task": "tensor", "tensor": {"inputs": {"x": {"shape": [0]}}}}, "tensor.inputs.x.shape: each must be above"),
        (
            {"task": "tensor", "tensor": {"inputs": {"x": {"shape": [1], "dtype": "str"}}}},
            "tensor.inputs.x.dtype: 'str' is not one of float32",
        ),
    ],
)
def test_a_bad_value_is_named_with_its_key(change: dict[str, Any], message: str) -> None:
    values = BASE | {"image": {"size": [4, 4]}} | change
    with pytest.raises(ModelError) as caught:
        ServingConfig.from_dict(values, Path())
    assert message in str(caught.value)


def test_a_missing_or_broken_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read .* is this an unpacked model.tar.gz"):
        ServingConfig.read(tmp_path)
    (tmp_path / "slipway.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON"):
        ServingConfig.read(tmp_path)
    (tmp_path / "slipway.json").write_text("[]")
    with pytest.raises(ModelError, match="must hold a JSON object"):
        ServingConfig.read(tmp_path)


def test_a_file_that_is_damaged_missing_or_not_listed_is_found(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "tensor", code=False)
    config = ServingConfig.read(directory)
    model = directory / "model.onnx"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: is damaged"):
        config.verify_files()
    model.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        config.verify_files()
    unlisted = ServingConfig.from_dict(BASE | {"image": {"size": [4, 4]}}, directory)
    with pytest.raises(ModelError, match=r"has no digest of model\.onnx"):
        unlisted.verify_files()


def test_labels_without_names_follow_the_toolkits_convention() -> None:
    values = {"name": "n", "task": "image-classification", "image": {"size": [4, 4]}}
    assert ServingConfig.from_dict(values, Path()).label(1) == "LABEL_1"
