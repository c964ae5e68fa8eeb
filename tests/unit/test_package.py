"""The artifact: its layout, its digests, its bytes."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from archives import extract

from model_build import archive, package
from model_build.spec import Spec
from serving.config import ServingConfig


def spec_of(**changes: Any) -> Spec:
    values: dict[str, Any] = {
        "name": "m",
        "task": "tensor",
        "tensor": {"inputs": {"x": {"shape": [3]}}},
        "source": {"onnx": {"path": "m.onnx"}},
    }
    return Spec.model_validate(values | changes)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "m.onnx").write_bytes(b"weights")
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "mine.py").write_text("def model_fn(directory): ...\n")
    (tmp_path / "words.txt").write_text("a\n")
    return tmp_path


def packed(spec: Spec, project: Path, name: str = "model.tar.gz") -> Path:
    target = project / name
    archive.pack(package.contents(spec, project / "m.onnx", project), target)
    return target


def unpacked(archive: Path, target: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        extract(tar, target)
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def test_the_artifact_has_the_model_its_configuration_and_the_code_that_serves_it(project: Path) -> None:
    files = unpacked(packed(spec_of(), project), project / "out")
    assert {"model.onnx", "slipway.json", "code/inference.py", "code/serving/handler.py"} < set(files)
    assert not [name for name in files if "__pycache__" in name or "Dockerfile" in name]
    assert files["code/requirements.txt"].decode().splitlines() == sorted(
        f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "orjson")
    )


def test_serving_can_read_the_configuration_and_its_digests_hold(project: Path) -> None:
    files = unpacked(packed(spec_of(), project), project / "out")
    config = ServingConfig.read(project / "out")
    config.verify_files()
    assert config.tensor is not None
    assert config.tensor.inputs["x"].shape == (3,)
    assert set(config.files) == set(files) - {"slipway.json"}
    assert config.files["model.onnx"] == hashlib.sha256(b"weights").hexdigest()


def test_a_text_task_brings_its_tokenizer(project: Path) -> None:
    spec = spec_of(
        task="text-classification", tensor=None, text={"tokenizer": "tokenizer.json"}, labels=["bad", "good"]
    )
    files = unpacked(packed(spec, project), project / "out")
    assert files["tokenizer.json"] == b"{}"
    assert json.loads(files["slipway.json"])["text"]["tokenizer"] == "tokenizer.json"
    assert b"tokenizers==" in files["code/requirements.txt"]


def test_a_litert_model_brings_its_own_runtime_in_place_of_onnx_runtime(project: Path) -> None:
    (project / "m.tflite").write_bytes(b"weights")
    target = project / "model.tar.gz"
    archive.pack(package.contents(spec_of(), project / "m.tflite", project), target)
    files = unpacked(target, project / "out")
    assert "model.onnx" not in files
    assert ServingConfig.read(project / "out").model == "model.tflite"
    names = [line.partition("==")[0] for line in files["code/requirements.txt"].decode().splitlines()]
    assert names == ["ai-edge-litert", "numpy", "orjson"]


def test_the_specs_own_handler_takes_the_place_of_the_generated_one(project: Path) -> None:
    spec = spec_of(
        handler={"inference": "mine.py", "files": ["words.txt"], "requirements": ["pandas==2.2.0", "numpy==1.26.4"]}
    )
    files = unpacked(packed(spec, project), project / "out")
    assert files["code/inference.py"] == (project / "mine.py").read_bytes()
    assert files["code/words.txt"] == b"a\n"
    lines = files["code/requirements.txt"].decode().splitlines()
    assert "pandas==2.2.0" in lines
    assert [line for line in lines if line.startswith("numpy")] == ["numpy==1.26.4"]


def test_the_same_content_gives_the_same_bytes_whatever_its_files_times_and_modes(project: Path) -> None:
    first = packed(spec_of(), project, "one.tar.gz").read_bytes()
    os.utime(project / "m.onnx", (1, 1))
    (project / "m.onnx").chmod(0o600)
    assert packed(spec_of(), project, "two.tar.gz").read_bytes() == first
    (project / "m.onnx").write_bytes(b"other weights")
    assert packed(spec_of(), project, "three.tar.gz").read_bytes() != first


def test_entries_are_sorted_and_carry_no_owner_and_no_time(project: Path) -> None:
    with tarfile.open(packed(spec_of(), project)) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {
        (0, 0, 0, "", 0o644)
    }
