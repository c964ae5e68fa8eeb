"""What a conversion is judged by, what is refused before anything is converted, and what people are told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import yaml

from model_build import loading
from model_build.errors import UserError
from model_build.passes import PASSES
from model_build.platforms import PLATFORMS, conversion, table
from model_build.platforms.base import require
from model_build.platforms.comparison import Comparison, compare
from model_build.platforms.conversion import Limits
from slipway import cli
from slipway.commands import convert

ONNX_SPEC: dict[str, Any] = {
    "name": "table",
    "task": "tensor",
    "tensor": {"inputs": {"x": {"shape": [3]}}},
    "source": {"onnx": {"path": "m.onnx"}},
    "optimize": {"candidates": [[]]},
}


def project(root: Path, **changes: Any) -> Path:
    (root / "specs").mkdir()
    (root / "Pulumi.yaml").touch()
    (root / "m.onnx").write_bytes(b"never read")
    path = root / "specs/table.yaml"
    path.write_text(yaml.safe_dump(ONNX_SPEC | changes))
    return path


def logits(*rows: list[float]) -> Any:
    return np.array(rows, np.float32)


def test_the_command_offers_every_platform_and_no_other() -> None:
    assert tuple(PLATFORMS) == convert.NAMES


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_platform_starts_from_what_its_passes_make(name: str) -> None:
    platform = PLATFORMS[name]
    assert platform.__doc__ and platform.ENDING.startswith(".") and platform.GAINS and platform.LOSES
    for before, passes in platform.STARTS_FROM.items():
        for one in passes:
            assert before in PASSES[one].ACCEPTS
    assert set(platform.STARTS_FROM) == {"pytorch", "onnx"} or platform.INSTEAD


def test_outputs_that_round_differently_agree_and_their_difference_is_a_share_of_the_largest() -> None:
    source = [logits([1, 2], [4, 3]), logits([0, -8])]
    converted = [logits([1, 2.4], [4, 3]), logits([0, -8])]
    found = compare([(source, converted)], classes=2)
    assert (found.samples, found.agreement) == (3, 1.0)
    assert found.largest == pytest.approx(0.4 / 8, rel=1e-5)
    assert found.mean == pytest.approx(0.4 / 6 / 8, rel=1e-5)


def test_a_changed_class_lowers_the_agreement() -> None:
    assert compare([([logits([1, 2], [4, 3])], [logits([3, 2], [4, 3])])], classes=2).agreement == 0.5


def test_what_is_no_number_agrees_with_nothing_and_is_infinitely_far() -> None:
    found = compare([([logits([1, 2], [4, 3])], [logits([math.nan, 2], [4, 3])])], classes=2)
    assert found.agreement == 0.5
    assert found.largest == found.mean == math.inf


def test_another_shape_agrees_with_nothing() -> None:
    found = compare([([logits([1, 2], [4, 3])], [logits([1, 2])])], classes=2)
    assert (found.agreement, found.largest) == (0.0, math.inf)


def test_each_output_is_measured_by_its_own_largest_value() -> None:
    small, large = [logits([1.0])], [logits([1000.0])]
    found = compare([(small, [logits([1.1])]), (large, [logits([1000.1])])], classes=0)
    assert found.agreement is None
    assert found.largest == pytest.approx(0.1, rel=1e-4)


def test_scores_of_each_of_several_places_are_compared_where_they_have_classes() -> None:
    tokens = np.array([[[1, 2], [2, 1], [0, 1]]], np.float32)  # one text, three tokens, two classes
    other = tokens.copy()
    other[0, 1] = [1, 2]
    assert compare([([tokens], [other])], classes=2).agreement == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (Comparison(1000, 0.995, 0.2, 0.1), True),  # classes decide, however far the scores are
        (Comparison(1000, 0.994, 0.0, 0.0), False),
        (Comparison(1000, None, 1e-3, 1e-4), True),
        (Comparison(1000, None, 2e-3, 1e-4), False),
        (Comparison(1000, None, math.inf, math.inf), False),
    ],
)
def test_a_conversion_holds_by_its_classes_or_else_by_its_outputs(found: Comparison, holds: bool) -> None:
    assert Limits().hold(found) is holds


@pytest.mark.parametrize("name", ["torchscript", "litert", "coreml"])
def test_what_is_read_as_onnx_cannot_become_what_is_made_of_pytorch(tmp_path: Path, name: str) -> None:
    path = project(tmp_path)
    with pytest.raises(UserError, match=rf"table: source\.onnx is read as ONNX, of which no {name}") as caught:
        conversion.convert(loading.load(path, tmp_path), tmp_path, path, name)
    assert caught.value.next_step


def test_a_model_of_several_graphs_is_refused(tmp_path: Path) -> None:
    path = project(tmp_path)
    spec = loading.load(path, tmp_path).model_copy(update={"task": "text-generation"})
    with pytest.raises(UserError, match="two graphs and a loop"):
        conversion.convert(spec, tmp_path, path, "onnx")


def test_a_file_has_the_platforms_ending(tmp_path: Path) -> None:
    path = project(tmp_path)
    with pytest.raises(UserError, match=r"model\.bin must end in \.xml"):
        conversion.convert(loading.load(path, tmp_path), tmp_path, path, "openvino", tmp_path / "model.bin")


def test_a_missing_extra_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(UserError, match="--to nowhere needs no_such_module") as caught:
        require("nowhere", {"no_such_module": "make nowhere"})
    assert caught.value.next_step == "run: make nowhere"
    require("here", {"json": "make here"})


def record(**changes: Any) -> dict[str, Any]:
    return {
        "platform": "openvino",
        "source": {"kind": "pytorch", "size_mb": 6.672},
        "size_mb": 6.7,
        "limits": {"agreement": 0.995, "difference": 1e-3},
        "compared": {
            "samples": 10000,
            "data": "data.evaluation",
            "agreement": 0.98765,
            "largest_difference": 4e-7,
            "mean_difference": 5e-8,
        },
        "metric": "accuracy",
        "score": {"source": 0.93, "converted": 0.92},
        "latency": {"source_p50_ms": 0.4, "converted_p50_ms": 0.1, "ratio": 0.25, "interval": [0.24, 0.26]},
        "run_by": ["OpenVINO 1"],
        "gains": ["a"],
        "loses": ["b"],
    } | changes


def test_the_table_has_what_was_lost_and_gained() -> None:
    rows = {what: (source, converted) for what, source, converted in table.table(record())}
    assert rows["top-1 agreement"] == ("", "98.77 % of 10,000")
    assert rows["accuracy"] == ("0.9300", "0.9200")
    assert rows["largest difference"] == ("", "4.0e-07, mean 5.0e-08 of the largest value")
    assert rows["p50 of one sample, ms"] == ("0.400", "0.100 (0.25 ×, 0.24–0.26)")
    assert rows["size, MB"] == ("6.67", "6.70")
    assert table.remarks(record()) == ["run by OpenVINO 1", "+ a", "- b"]
    assert "98.77 % of the samples keep their class; at least 99.5 % must" in table.missed(record())


def test_the_table_says_what_was_not_measured() -> None:
    compared = {
        "samples": 2,
        "data": "made up: …",
        "agreement": None,
        "largest_difference": None,
        "mean_difference": None,
    }
    one = record(latency={}, score={}, compared=compared, source={"kind": "pytorch", "size_mb": None})
    rows = {what: converted for what, _, converted in table.table(one)}
    assert rows["p50 of one sample, ms"] == "not run here"
    assert rows["outputs"] == "of other shapes, or no numbers"
    assert "accuracy" not in rows and "top-1 agreement" not in rows
    assert table.remarks(one)[-1].startswith("! compared on 2 samples that were made up")
    assert "other shapes" in table.missed(one)
    off = {"agreement": None, "largest_difference": 0.02, "mean_difference": 0.001}
    assert "off by 0.02 of its largest value; tolerated are 0.001" in table.missed(record(compared=off))


@pytest.mark.parametrize(
    ("platform", "candidate", "said"),
    [
        ("onnx", "export_onnx → quantize_static", "it is that: unpack the file"),
        ("litert", "export_onnx", "build a candidate with convert_litert"),
        ("litert", "convert_litert(quantize=dynamic)", "it is that"),
        ("coreml", "export_onnx", "coremltools.optimize"),
    ],
)
def test_the_chosen_candidate_is_not_converted_but_named_with_what_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, candidate: str, said: str
) -> None:
    class Artifact:
        file = "model.tar.gz"

    class Manifest:
        artifact = Artifact()

    manifest = Manifest()
    manifest.candidate = candidate  # type: ignore[attr-defined]
    monkeypatch.setattr("model_build.manifest.read_manifest", lambda path: manifest)
    path = project(tmp_path)
    text = convert._chosen(loading.load(path, tmp_path), tmp_path, platform)
    assert f"'{candidate}' is model." in text and "build/table/model.tar.gz" in text
    assert said in text


def test_a_share_above_the_whole_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path)
    assert cli.run(["--root", str(tmp_path), "convert", "table", "--to", "onnx", "--min-agreement", "101"]) == 1
    assert "0<=x<=100" in click.unstyle(capsys.readouterr().err)


def test_a_record_is_json_where_outputs_are_infinitely_far() -> None:
    assert json.dumps(conversion._finite(math.inf)) == "null"
    assert conversion._finite(0.5) == 0.5
