"""ONNX files as sources: what is accepted, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models
import pytest

from model_build.errors import UserError
from model_build.sources import onnx as source
from model_build.sources.base import Wanted
from model_build.spec import Spec

SPEC = Spec.model_validate(
    {
        "name": "m",
        "task": "tensor",
        "tensor": {"inputs": {"x": {"shape": [64]}}, "outputs": ["logits"]},
        "source": {"onnx": {"path": "m.onnx"}},
    }
)


def written(project: Path, inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ("logits",)) -> Path:
    target = project / "out.onnx"
    source.write(SPEC, project, target, Wanted(inputs, outputs))
    return target


def test_a_model_whose_weights_lie_apart_becomes_one_file(tmp_path: Path) -> None:
    import onnx

    whole = onnx_models.write_linear(tmp_path / "whole.onnx")
    onnx.save(
        onnx.load(whole), tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0
    )
    assert len(source.files(SPEC, tmp_path)) == 2
    made = written(tmp_path)
    (tmp_path / "m.onnx.data").unlink()
    x = np.ones((2, 64), np.float32)
    np.testing.assert_array_equal(onnx_models.run(made, x), onnx_models.run(whole, x))


def test_names_that_are_not_the_tasks_are_told(tmp_path: Path) -> None:
    onnx_models.write_linear(tmp_path / "m.onnx")
    with pytest.raises(UserError, match="has the inputs x and the outputs logits; the task needs pixels and logits"):
        written(tmp_path, inputs=("pixels",))


def test_a_fixed_batch_is_told(tmp_path: Path) -> None:
    onnx_models.write_linear(tmp_path / "m.onnx", batch=1)
    with pytest.raises(UserError, match="the first axis of 'x' is fixed to 1"):
        written(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_file_that_is_no_model_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(UserError, match=r"m\.onnx is not a valid ONNX model"):
        written(tmp_path)
