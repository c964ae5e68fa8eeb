"""Conversions with the real libraries: measured beside the source, placed or rejected, and run by another process.

OpenVINO and coremltools are in an environment of their own, made on the first run (0.2 GB).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from overlays import PROJECT, python_with
from serving_artifacts import tokenizer_json

pytestmark = pytest.mark.contract

CODE = '''
"""A model of words, one whose trace is not what it does, and samples. The labels are their own answers."""

import numpy as np
import torch
from torch import nn


class Words(nn.Module):
    """The mean of its words' normalised embeddings, what is masked left out, and two linear layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.table = nn.Embedding(6, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2))
        with torch.no_grad():
            self.table.weight *= torch.arange(6)[:, None]  # nothing of the first word, which pads

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1).to(torch.float32) * input_ids.new_ones(()).bool()
        mean = (self.norm(self.table(input_ids)) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.head(mean)


class Branching(nn.Module):
    """Turns its answer around where its first number is large: a trace of a small one never does."""

    def forward(self, x):
        scores = torch.cat([x[:, :1], -x[:, :1]], 1)
        return scores if float(x[0, 0].abs()) < 50 else -scores


def words_model():
    return Words().eval()


def branching_model():
    return Branching().eval()


def words():
    return ["goal", "match goal goal", "market", "shares market shares match market shares"], np.array([0, 0, 1, 1])


def numbers():
    rows = np.arange(1, 101, dtype=np.float32)
    return [{"x": np.array([row, 0, 1], np.float32)} for row in rows], (rows >= 50).astype(np.int64)
'''
MEASURE = {"rounds": 2, "requests": 5}
SPECS: list[dict[str, Any]] = [
    {
        "name": "words",
        "task": "text-classification",
        "labels": ["sport", "business"],
        "text": {"tokenizer": "zoo/tokenizer.json", "max_length": 8},
        "source": {"pytorch": {"factory": "zoo.small:words_model"}},
        "data": {"evaluation": {"factory": "zoo.small:words"}},
    },
    {
        "name": "branching",
        "task": "tensor",
        "labels": ["low", "high"],
        "tensor": {"inputs": {"x": {"shape": [3]}}, "outputs": ["logits"]},
        "source": {"pytorch": {"factory": "zoo.small:branching_model"}},
        "data": {"evaluation": {"factory": "zoo.small:numbers"}},
    },
    {
        "name": "product",
        "task": "tensor",
        "tensor": {"inputs": {"x": {"shape": [3]}}, "outputs": ["output"]},
        "source": {"onnx": {"path": "zoo/product.onnx"}},
        "optimize": {"candidates": [[]]},
    },
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("platforms") / "project"
    (root / "zoo").mkdir(parents=True)
    (root / "specs").mkdir()
    (root / "Pulumi.yaml").touch()
    (root / "zoo/small.py").write_text(CODE)
    (root / "zoo/tokenizer.json").write_text(tokenizer_json())
    product(root / "zoo/product.onnx")
    for spec in SPECS:
        (root / f"specs/{spec['name']}.yaml").write_text(yaml.safe_dump(spec | {"measure": MEASURE}))
    return root


def product(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.array([[1, 2], [3, 4], [5, 6]], np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["output"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 2])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def convert(root: Path, python: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "slipway", "--root", root, "convert", *arguments],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def record(root: Path, name: str, file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / f"build/{name}/platforms/{file}.json").read_text())
    return found


def test_torchscript_is_compared_with_its_source_and_takes_any_batch_of_any_length(root: Path) -> None:
    done = convert(root, sys.executable, "words", "--to", "torchscript")
    assert done.returncode == 0, done.stderr
    assert "top-1 agreement" in done.stdout and "100.00 % of 4" in done.stdout
    told = record(root, "words", "words.pt")
    assert told["holds"] and told["compared"]["agreement"] == 1.0 and told["compared"]["largest_difference"] < 1e-5
    assert told["score"]["source"] == told["score"]["converted"]
    assert told["latency"]["converted_p50_ms"] > 0 and told["files"].keys() == {"words.pt"}
    program = (
        "import sys, torch; module = torch.jit.load(sys.argv[1]); "
        "print([module(torch.ones(*shape).long(), torch.ones(*shape).long()).shape[0] for shape in ((1, 3), (5, 7))])"
    )
    alone = [sys.executable, "-W", "ignore", "-c", program, root / "build/words/platforms/words.pt"]
    assert subprocess.run(alone, capture_output=True, text=True, check=True).stdout.strip() == "[1, 5]"


def test_a_trace_that_misses_a_branch_is_rejected_and_takes_no_ones_place(root: Path) -> None:
    target = root / "kept.pt"
    target.write_text("an earlier one that held")
    done = convert(root, sys.executable, "branching", "--to", "torchscript", "-o", str(target))
    assert done.returncode == 1
    assert "% of the samples keep their class; at least 99.5 % must" in done.stderr and "--min-agreement" in done.stderr
    assert target.read_text() == "an earlier one that held" and not (root / "kept.pt.json").exists()
    assert (root / "kept.rejected.pt").is_file()
    told = json.loads((root / "kept.rejected.pt.json").read_text())
    assert not told["holds"] and told["compared"]["agreement"] < 0.7 and list(told["files"]) == ["kept.rejected.pt"]


def test_openvino_reads_what_is_onnx_already_in_32_bits(root: Path) -> None:
    done = convert(root, python_with("platforms"), "product", "--to", "openvino")
    assert done.returncode == 0, done.stderr
    assert "compared on 2 samples that were made up" in done.stdout
    told = record(root, "product", "product.xml")
    assert told["compared"]["agreement"] is None and told["compared"]["largest_difference"] < 1e-6
    assert told["files"].keys() == {"product.xml", "product.bin"} and told["score"] == {}
    weights = np.frombuffer((root / "build/product/platforms/product.bin").read_bytes(), np.float32)
    assert set(range(1, 7)) <= set(weights.tolist())


def test_a_core_ml_package_is_evaluated_where_core_ml_is_not(root: Path) -> None:
    done = convert(root, python_with("platforms"), "words", "--to", "coreml")
    assert done.returncode == 0, done.stderr
    assert "not run: needs macOS" in done.stdout and "not run here" in done.stdout
    told = record(root, "words", "words.mlpackage")
    assert told["compared"]["agreement"] == 1.0 and told["compared"]["largest_difference"] < 1e-5
    assert told["latency"] == {} and told["score"]["converted"] == told["score"]["source"]
    assert "words.mlpackage/Data/com.apple.CoreML/model.mlmodel" in told["files"]
