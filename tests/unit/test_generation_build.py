"""Around a model of two graphs: what a checkpoint says, what a spec may ask for, records and artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from serving_artifacts import write_artifact

from model_build import graph_parts, package
from model_build.errors import UserError
from model_build.passes import PASSES
from model_build.passes.base import Context, Model
from model_build.sources import generation_config
from model_build.spec import SECTIONS, Generation, Spec
from serving.config import Generation as Served
from serving.config import ServingConfig


def spec_of(**changes: Any) -> Spec:
    values: dict[str, Any] = {
        "name": "m",
        "task": "text-generation",
        "text": {"tokenizer": "tokenizer.json"},
        "source": {"huggingface": {"path": "model"}},
        "deploy": {"instance": "ml.c7i.large"},
    }
    return Spec.model_validate(values | changes)


def test_spec_and_artifact_have_the_same_defaults() -> None:
    written = Generation().model_dump()
    assert {name: getattr(Served(), name) for name in written} == written
    values = {"name": "m", "task": "text-generation", "text": {"tokenizer": "t"}}
    assert ServingConfig.from_dict(values, Path()).generation == Served()
    given = {**values, "generation": Generation(num_beams=3, early_stopping="never").model_dump(mode="json")}
    assert ServingConfig.from_dict(given, Path()).generation == Served(num_beams=3, early_stopping="never")
    assert SECTIONS["text-generation"] == ("text", "generation")


def test_a_checkpoint_says_how_it_generates_and_the_spec_has_the_last_word(tmp_path: Path) -> None:
    bart = {"eos_token_id": 2, "pad_token_id": 1, "decoder_start_token_id": 2, "forced_bos_token_id": 0}
    (tmp_path / "config.json").write_text(json.dumps(bart | {"num_beams": 2, "max_length": 20}))
    own = {"num_beams": 4, "max_length": 142, "min_length": 56, "length_penalty": 2.0, "no_repeat_ngram_size": 3}
    own |= {"early_stopping": True, "bad_words_ids": [[1], [5, 6]], "eos_token_id": [2, 7], "do_sample": True}
    (tmp_path / "generation_config.json").write_text(json.dumps(own))
    found = generation_config.completed(spec_of(generation={"num_beams": 1, "prefix": "sum: "}), tmp_path).generation
    assert found == Generation(
        max_new_tokens=141,
        min_new_tokens=55,
        num_beams=1,
        length_penalty=2.0,
        early_stopping=True,
        no_repeat_ngram_size=3,
        decoder_start_token_id=2,
        pad_token_id=1,
        eos_token_ids=(2, 7),
        forced_bos_token_id=0,
        suppressed_tokens=(1,),
        prefix="sum: ",
    )


def test_values_of_a_checkpoint_that_cannot_be_had_leave_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps({"num_beams": 99, "max_new_tokens": 10**6}))
    assert generation_config.completed(spec_of(), tmp_path).generation == Generation()
    assert generation_config.completed(spec_of(), tmp_path / "none").generation == Generation()


def context_of(folder: Path, output: Path) -> Context:
    output.mkdir()
    batch = {"input_ids": np.array([[2, 4], [5, 0]]), "attention_mask": np.array([[1, 1], [1, 0]])}
    return Context(output=output, example=lambda: batch, input_axes={}, output_names=("sequences",))


def test_a_pass_runs_on_both_graphs_each_with_an_example_of_its_own(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "artifact", "text-generation", code=False)
    model = Model("onnx", folder, "model.onnx", parts=("encoder.onnx",))
    assert model.files == (folder / "model.onnx", folder / "encoder.onnx")
    seen = {}

    class Recording:
        @staticmethod
        def run(given: Model, config: Any, context: Context) -> Model:
            seen[given.entry] = ({name: array.shape for name, array in context.example().items()}, context.output_names)
            onnx.save(onnx.load(given.path), context.output / "model.onnx")
            return Model("onnx", context.output, "model.onnx")

    context = context_of(folder, tmp_path / "out")
    made = graph_parts.run(Recording, "optimize_graph", model, None, context)  # type: ignore[arg-type]
    assert (made.entry, made.parts) == ("model.onnx", ("encoder.onnx",))
    assert sorted(path.name for path in context.output.iterdir()) == ["encoder.onnx", "model.onnx"]
    assert seen["encoder.onnx"] == ({"input_ids": (2, 2), "attention_mask": (2, 2)}, ("cross.0.key",))
    shapes, outputs = seen["model.onnx"]
    assert shapes == {"decoder_input_ids": (2, 1), "cross.0.key": (2, 1, 2, 6), "past.0.key": (2, 1, 3, 1)}
    assert outputs == ("logits", "present.0.key")


def test_a_pass_that_looks_at_data_is_refused_and_a_failure_names_the_graph(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "artifact", "text-generation", code=False)
    model = Model("onnx", folder, "model.onnx", parts=("encoder.onnx",))
    with pytest.raises(UserError, match="quantize_static takes models of one graph"):
        graph_parts.run(PASSES["quantize_static"], "quantize_static", model, None, context_of(folder, tmp_path / "a"))  # type: ignore[arg-type]
    the_pass = PASSES["quantize_dynamic"]
    with pytest.raises(UserError, match=r"model\.onnx: quantize_dynamic: the model has no layers"):
        graph_parts.run(the_pass, "quantize_dynamic", model, the_pass.Config(), context_of(folder, tmp_path / "b"))


def test_the_artifact_holds_both_graphs_with_their_digests(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "french.json", "m.onnx", "encoder.onnx"):
        (tmp_path / name).write_text(name)
    spec = spec_of(generation={"tokenizer": "french.json"})
    files = package.contents(spec, tmp_path / "m.onnx", tmp_path, None, [tmp_path / "encoder.onnx"])
    content = files["slipway.json"]
    assert isinstance(content, bytes)
    values = json.loads(content)
    assert {"model.onnx", "encoder.onnx", "tokenizer.json", "answer_tokenizer.json"} <= values["files"].keys()
    assert values["generation"]["tokenizer"] == "answer_tokenizer.json"
    alone = package.contents(spec, tmp_path / "m.onnx", tmp_path)
    assert "encoder.onnx" not in alone


def problems(root: Path, **changes: Any) -> list[str]:
    from model_build import rules

    return [finding.message for finding in rules.check(spec_of(**changes), root)]


def test_what_takes_one_graph_is_refused_when_a_spec_is_checked(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        labels=["a", "b"],
        optimize={"candidates": [["export_onnx", "quantize_static"], ["convert_litert"]]},
    )
    assert any("quantize_static takes models of one graph" in one for one in found)
    assert any("convert_litert takes models of one graph" in one for one in found)
    assert any("has no classes" in one for one in found)
    assert any("not searched for" in one for one in problems(tmp_path, optimize={"auto": True}))
    source = {"onnx": {"path": "m.onnx"}}
    assert any("encoder–decoder" in one for one in problems(tmp_path, source=source))
