"""`slipway init`: what it writes, and what it refuses to."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from model_build import loading
from model_build.errors import UserError
from slipway import initialize
from slipway.commands.init import command


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def onnx_file(path: Path, dtype: int = TensorProto.FLOAT) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["rows"], ["same"])],
        "identity",
        [helper.make_tensor_value_info("rows", dtype, ["batch", 4, "length"])],
        [helper.make_tensor_value_info("same", dtype, ["batch", 4, "length"])],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.mark.parametrize("task", initialize.TASKS)
def test_the_only_thing_wrong_with_an_example_that_was_not_trained_is_its_missing_files(
    project: Path, task: str
) -> None:
    spec, folder = initialize.example(project, "my-model", task)
    assert {"data.py", "model.py", "train.py", "__init__.py"} == {path.name for path in folder.iterdir()}
    _, problems = loading.load_all((), project)
    assert problems and {problem.key.rpartition(".")[2] for problem in problems} <= {"weights", "tokenizer", "sample"}
    assert "$" not in spec.read_text().replace("$schema", "")


def test_an_onnx_file_inside_the_project_stays_where_it_is_and_its_spec_has_its_inputs(project: Path) -> None:
    model = onnx_file(project / "exports" / "rows.onnx")
    initialize.onnx(project, "rows", model)
    specs, problems = loading.load_all((), project)
    assert problems == []
    (spec,) = specs.values()
    assert spec.source.onnx is not None and spec.source.onnx.path == "exports/rows.onnx"
    assert spec.tensor is not None and spec.tensor.outputs == ("same",)
    assert {name: (value.dtype, value.shape) for name, value in spec.tensor.inputs.items()} == {
        "rows": ("float32", (4, -1))
    }


def test_an_onnx_file_from_elsewhere_is_copied_into_the_project(project: Path) -> None:
    model = onnx_file(project.parent / "elsewhere.onnx")
    _, copy = initialize.onnx(project, "my-rows", model)
    assert copy == project / "models" / "my_rows" / "model.onnx"
    assert copy.read_bytes() == model.read_bytes()
    assert loading.load_all((), project)[1] == []


def test_an_onnx_file_with_inputs_that_no_request_can_hold_is_refused_by_the_inputs_name(project: Path) -> None:
    model = onnx_file(project.parent / "strings.onnx", TensorProto.STRING)
    with pytest.raises(UserError, match="input 'rows' is no array"):
        initialize.onnx(project, "rows", model)
    assert list(project.iterdir()) == []


def test_a_file_that_is_no_onnx_model_is_refused(project: Path) -> None:
    (project.parent / "text.onnx").write_text("no model")
    with pytest.raises(UserError, match="is no ONNX model"):
        initialize.onnx(project, "rows", project.parent / "text.onnx")


def test_nothing_is_overwritten(project: Path) -> None:
    spec, _ = initialize.example(project, "digits", "image-classification")
    before = spec.read_bytes()
    with pytest.raises(UserError, match=r"digits\.yaml exists"):
        initialize.example(project, "digits", "tensor")
    assert spec.read_bytes() == before


@pytest.mark.parametrize("name", ["Digits", "../digits", "-x", "a" * 41])
def test_a_name_that_is_none_is_refused_before_anything_is_written(project: Path, name: str) -> None:
    with pytest.raises(UserError, match="is no name of a model"):
        initialize.example(project, name, "tensor")
    assert list(project.iterdir()) == []


def test_without_a_terminal_the_task_must_be_given(project: Path) -> None:
    done = CliRunner().invoke(command, ["digits"], obj=project)
    assert isinstance(done.exception, UserError)
    assert "--task" in (done.exception.next_step or "")
