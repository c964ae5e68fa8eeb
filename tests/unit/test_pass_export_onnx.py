"""export_onnx on small modules: names, axes, numbers, bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_build.errors import UserError
from model_build.passes import export_onnx
from model_build.passes.base import Context, Model


def export(make: Callable[[], Any], output: Path, **changes: Any) -> Path:
    values: dict[str, Any] = {
        "output": output,
        "example": lambda: {"x": np.random.default_rng(0).normal(size=(2, 7, 4)).astype(np.float32)},
        "input_axes": {"x": {0: "batch", 1: "time"}},
        "output_names": ("logits",),
    }
    output.mkdir(exist_ok=True)
    config = export_onnx.Config(**changes.pop("options", {}))
    result = export_onnx.run(Model("pytorch", output, load=make), config, Context(**(values | changes)))
    assert result.format == "onnx"
    return result.path


def mean_of_linear() -> Any:
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.linear = torch.nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.linear(x).mean(dim=1) * 2

    return Network()


def shapes(path: Path) -> dict[str, list[str | int]]:
    import onnx

    graph = onnx.load(path).graph
    return {
        value.name: [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


def test_inputs_outputs_and_varying_axes_have_the_tasks_names(tmp_path: Path) -> None:
    assert shapes(export(mean_of_linear, tmp_path)) == {"x": ["batch", "time", 4], "logits": ["batch", 3]}


def test_the_exported_model_computes_what_the_module_does_at_other_lengths(tmp_path: Path) -> None:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(export(mean_of_linear, tmp_path), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(2).normal(size=(5, 3, 4)).astype(np.float32)
    (got,) = session.run(["logits"], {"x": x})
    with torch.inference_mode():
        wanted = mean_of_linear()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_an_output_may_be_called_as_a_value_inside_is(tmp_path: Path) -> None:
    import onnx

    path = export(mean_of_linear, tmp_path, output_names=("linear",))  # so the exporter calls what nn.Linear makes
    made = [name for node in onnx.load(path).graph.node for name in node.output]
    assert "linear" in made
    assert len(made) == len(set(made))
    assert shapes(path)["linear"] == ["batch", 3]


def test_exporting_twice_gives_the_same_bytes_without_a_path_in_them(tmp_path: Path) -> None:
    first = export(mean_of_linear, tmp_path / "one").read_bytes()
    assert export(mean_of_linear, tmp_path / "two").read_bytes() == first
    assert __file__.encode() not in first
    assert b"site-packages" not in first


def test_a_named_output_of_several_is_taken_and_inputs_match_by_position(tmp_path: Path) -> None:
    import torch

    class Network(torch.nn.Module):
        def forward(self, anything: Any) -> dict[str, Any]:
            return {"hidden": anything + 1, "logits": anything.sum(dim=1)}

    assert shapes(export(Network, tmp_path)) == {"x": ["batch", "time", 4], "logits": ["batch", 4]}


def test_an_axis_that_the_module_fixes_is_told(tmp_path: Path) -> None:
    import torch

    class Network(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.reshape(2, 28) * 1.0

    with pytest.raises(UserError, match=r"Network\.forward failed on x torch\.float32 \(1, 7, 4\)"):
        export(Network, tmp_path)


def test_an_axis_that_tracing_fixes_is_told(tmp_path: Path) -> None:
    import torch

    class Network(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.sum(dim=1) * (1.0 if x.shape[1] == 7 else 2.0)

    with pytest.raises(UserError, match="Network cannot be exported") as caught:
        export(Network, tmp_path)
    assert "batch, time" in caught.value.next_step


def test_a_module_that_cannot_be_traced_is_told(tmp_path: Path) -> None:
    import torch

    class Network(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x + float(np.asarray(x.detach().tolist()).sum())

    with pytest.raises(UserError, match="Network cannot be exported"):
        export(Network, tmp_path)


def test_an_output_that_is_off_is_told_with_by_how_much(tmp_path: Path) -> None:
    import torch

    class Network(torch.nn.Module):
        calls = 0

        def forward(self, x: Any) -> Any:
            Network.calls += 1
            return x.sum(dim=1) + float(Network.calls)

    with pytest.raises(UserError, match=re.escape("output 'logits' of the exported Network is off by")) as caught:
        export(Network, tmp_path)
    assert "deterministic" in caught.value.next_step


def test_a_module_with_too_few_parameters_is_told(tmp_path: Path) -> None:
    import torch

    class Network(torch.nn.Module):
        def forward(self) -> Any:
            return torch.zeros(1)

    with pytest.raises(UserError, match=r"Network\.forward takes nothing; the task gives x"):
        export(Network, tmp_path)
