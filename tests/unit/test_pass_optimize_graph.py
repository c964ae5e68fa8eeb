"""optimize_graph on a small transformer and a convolution with batch normalisation, exported as a user's are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest
import torch
from torch import Tensor, nn

from model_build.errors import UserError
from model_build.passes import export_onnx, optimize_graph, quantize_dynamic
from model_build.passes.base import Context, Model

AXES = {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask")}


class Encoder(nn.Module):
    """One layer of BERT: attention with a mask, GELU, and normalisation after each residual sum."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.embedding = nn.Embedding(50, width)
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.after_attention, self.after_wide = nn.LayerNorm(width), nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        batch, length, _ = x.shape
        query, key, value = (
            one(x).view(batch, length, self.heads, -1).transpose(1, 2) for one in (self.query, self.key, self.value)
        )
        mask = attention_mask[:, None, None, :].bool().expand(-1, -1, length, -1)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.after_attention(x + self.mixed(seen.transpose(1, 2).reshape(batch, length, -1)))
        x = self.after_wide(x + self.narrow(nn.functional.gelu(self.wide(x))))
        logits: Tensor = self.head(x.mean(1))
        return logits


def tokens(batch: int, length: int, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    mask = np.ones((batch, length), np.int64)
    mask[-1, length // 2 :] = 0
    return {"input_ids": random.integers(0, 50, (batch, length)), "attention_mask": mask}


def context(output: Path, example: dict[str, Any], notes: list[str] | None = None) -> Context:
    output.mkdir(exist_ok=True)
    return Context(
        output=output,
        example=lambda: example,
        input_axes={name: AXES.get(name, {0: "batch"}) for name in example},
        output_names=("logits",),
        progress=(notes if notes is not None else []).append,
    )


def exported(module: nn.Module, example: dict[str, Any], output: Path) -> Model:
    model = Model("pytorch", output, load=lambda: module.eval())
    return export_onnx.run(model, export_onnx.Config(), context(output, example))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    return exported(Encoder(), tokens(2, 6), tmp_path_factory.mktemp("encoder"))


def optimize(model: Model, output: Path, example: dict[str, Any], **options: Any) -> Model:
    return optimize_graph.run(model, optimize_graph.Config(**options), context(output, example))


def operators(model: Model) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(model.path).graph.node)


def answers(model: Model, inputs: dict[str, Any]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    return session.run(["logits"], inputs)[0]


def test_attention_and_gelu_become_one_operator_each_and_the_outputs_stay(encoder: Model, tmp_path: Path) -> None:
    made = optimize(encoder, tmp_path / "out", tokens(2, 6))
    found = operators(made)
    assert (found["MultiHeadAttention"], found["Gelu"], found["Softmax"], found["Erf"]) == (1, 1, 0, 0)
    assert found.total() < 0.5 * operators(encoder).total()
    for batch, length in ((1, 3), (2, 6), (5, 11)):  # other sizes than those it was checked with
        inputs = tokens(batch, length, seed=batch)
        assert np.abs(answers(made, inputs) - answers(encoder, inputs)).max() < 1e-5


def test_layer_norms_stay_apart_from_their_sums_when_the_runtime_loads_the_model(
    encoder: Model, tmp_path: Path
) -> None:
    """The runtime's own fusion, whose kernel is the slower one, is seen in what it makes of the graph on loading."""
    import onnxruntime

    def loaded(model: Model) -> Counter[str]:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node)

    split = loaded(optimize(encoder, tmp_path / "split", tokens(2, 6)))
    assert (split["LayerNormalization"], split["SkipLayerNormalization"]) == (2, 0)
    fused = loaded(optimize(encoder, tmp_path / "fused", tokens(2, 6), split_layer_norm=False))
    assert (fused["LayerNormalization"], fused["SkipLayerNormalization"]) == (0, 2)


def test_each_fusion_can_be_left_out(encoder: Model, tmp_path: Path) -> None:
    found = operators(optimize(encoder, tmp_path / "out", tokens(2, 6), attention=False, gelu=False))
    assert (found["MultiHeadAttention"], found["Gelu"], found["Softmax"], found["Erf"]) == (0, 0, 1, 1)


def test_the_projections_can_still_be_quantized(encoder: Model, tmp_path: Path) -> None:
    made = optimize(encoder, tmp_path / "out", tokens(2, 6))
    quantized = quantize_dynamic.run(
        made, quantize_dynamic.Config(reduce_range=True), context(tmp_path / "quantized", tokens(2, 6))
    )
    assert operators(quantized)["MatMulInteger"] == 7  # query, key, value, mixed, wide, narrow, head
    inputs = tokens(3, 8)
    assert np.abs(answers(quantized, inputs) - answers(encoder, inputs)).max() < 0.05


def test_batch_normalisation_is_folded_into_the_convolution_before_it(tmp_path: Path) -> None:
    proto = onnx.load(onnx_models.write_convolution(tmp_path / "conv.onnx"))
    constants = [np.full(4, value, np.float32) for value in (2.0, 1.0, 0.5, 4.0)]
    names = ["scale", "shift", "mean", "variance"]
    tensors = [onnx.numpy_helper.from_array(one, name) for name, one in zip(names, constants, strict=True)]
    proto.graph.initializer.extend(tensors)
    proto.graph.node[1].input[0] = "normal"
    proto.graph.node.insert(1, onnx.helper.make_node("BatchNormalization", ["map", *names], ["normal"], name="norm"))
    onnx.save(proto, tmp_path / "conv.onnx")
    x = np.random.default_rng(1).normal(size=(2, 1, 8, 8)).astype(np.float32)
    made = optimize(Model("onnx", tmp_path, "conv.onnx"), tmp_path / "out", {"x": x})
    assert operators(made) == {"Conv": 1, "Relu": 1, "GlobalAveragePool": 1, "Reshape": 1}
    assert np.abs(onnx_models.run(made.path, x) - onnx_models.run(tmp_path / "conv.onnx", x)).max() < 1e-5


def test_nothing_of_a_machine_or_a_path_is_stored_and_the_bytes_are_the_same_again(
    encoder: Model, tmp_path: Path
) -> None:
    first = optimize(encoder, tmp_path / "one", tokens(2, 6)).path
    assert {one.domain for one in onnx.load(first).opset_import} == {"", "com.microsoft"}
    assert str(tmp_path).encode() not in first.read_bytes()
    assert optimize(encoder, tmp_path / "two", tokens(2, 6)).path.read_bytes() == first.read_bytes()


def test_a_graph_with_nothing_to_fuse_stays_as_it_is(tmp_path: Path) -> None:
    source = onnx_models.write_convolution(tmp_path / "conv.onnx")
    x = np.zeros((1, 1, 8, 8), np.float32)
    notes: list[str] = []
    made = optimize_graph.run(
        Model("onnx", tmp_path, "conv.onnx"), optimize_graph.Config(), context(tmp_path / "out", {"x": x}, notes)
    )
    assert onnx.load(made.path) == onnx.load(source)
    assert notes == ["optimize_graph: found nothing to fold or to fuse"]


def test_attention_that_does_not_match_leaves_a_graph_that_runs(
    encoder: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimize_graph, "_fuse_attention", lambda graph: None)
    made = optimize(encoder, tmp_path / "out", tokens(2, 6))
    assert operators(made)["Softmax"] == 1
    assert np.abs(answers(made, tokens(3, 9)) - answers(encoder, tokens(3, 9))).max() < 1e-5


def test_a_fusion_that_changes_the_outputs_is_refused(
    encoder: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(proto: onnx.ModelProto) -> None:
        for tensor in proto.graph.initializer:
            if tensor.name == "head.bias":
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones(3, np.float32), "head.bias"))

    monkeypatch.setattr(optimize_graph, "_split_layer_norm", wrong)
    with pytest.raises(UserError, match=r"output 'logits' is off by .* of its largest value; tolerated are 0\.001"):
        optimize(encoder, tmp_path / "out", tokens(2, 6))
