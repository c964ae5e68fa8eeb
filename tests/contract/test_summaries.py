"""A spec for summaries, built whole from a tiny random T5 as `transformers` saves it: no claim on what it writes."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import seq2seq_models

from model_build.build import build
from model_build.diagnosis import PUBLISHED, diagnose
from model_build.loading import load
from serving import handler

pytestmark = pytest.mark.contract

SPEC = """\
name: digest
task: text-generation
text: {tokenizer: model/tokenizer.json, max_length: 32}
generation: {answer_key: summary_text, prefix: "w59 "}
source: {huggingface: {path: model}}
data: {evaluation: {factory: "texts:evaluation"}}
optimize:
  candidates: [[export_onnx, optimize_graph, quantize_dynamic]]
  choose: smallest
measure: {metric: rouge, rounds: 5, requests: 5}
gates: {size: {max_mb: 5}}
deploy: {instance: ml.c7i.large}
"""
TEXTS = """\
def evaluation():
    return ["w5 w6 w7", "w8 w9 w10 w11", "w12"], ["w5", ["w8", "w9"], "w12 w13"]
"""


def test_a_summarizing_model_is_built_measured_by_rouge_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq2seq_models.save("t5", 3, tmp_path / "model", max_new_tokens=8, num_beams=2, length_penalty=0.5)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/digest.yaml").write_text(SPEC)
    (tmp_path / "texts.py").write_text(TEXTS)
    spec = load(tmp_path / "specs/digest.yaml", tmp_path)
    assert spec.generation is not None and (spec.generation.num_beams, spec.generation.length_penalty) == (2, 0.5)

    outcome = build(spec, tmp_path)
    chosen = outcome.manifest.chosen
    assert chosen.metric == "rouge"
    assert set(chosen.details) == {"rouge1", "rouge2", "rougeL"}
    assert chosen.samples == 3

    unpacked = tmp_path / "unpacked"
    with tarfile.open(outcome.directory / "model.tar.gz") as archive:
        archive.extractall(unpacked, filter="data")
    sizes = sum((unpacked / name).stat().st_size for name in ("model.onnx", "encoder.onnx"))
    assert chosen.size_mb == pytest.approx(sizes / 1e6, abs=1e-6)
    assert json.loads((unpacked / "slipway.json").read_text())["generation"]["num_beams"] == 2
    monkeypatch.setenv("SM_MODEL_DIR", str(unpacked))
    model = handler.model_fn(str(unpacked))
    (answer,) = handler.predict_fn(handler.input_fn(b'{"inputs": "w5 w6"}', None), model)
    assert list(answer) == ["summary_text"]
    assert (
        diagnose(spec, tmp_path, tmp_path / "specs/digest.yaml").evidence[PUBLISHED].measurement.details
        == chosen.details
    )
