"""Small real builds end to end: a spec, a PyTorch model and data in, a served artifact out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import yaml
from archives import extract

from model_build import build as building
from model_build import loading, targets
from model_build.errors import GatesMissed, SpecError, UserError
from model_build.manifest import read_manifest, verify

pytestmark = pytest.mark.contract

CODE = '''
"""A network over pictures. The labels are its own answers, so its accuracy is 1."""

import numpy as np
import torch
from torch import nn


def network():
    torch.manual_seed(5)
    linear = nn.Linear(128, 3)
    with torch.no_grad():  # so that no class is far more frequent than the others
        linear.bias.zero_()
        linear.weight -= linear.weight.mean(dim=1, keepdim=True)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), linear
    ).eval()


def pictures(count, seed):
    images = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), np.uint8)
    with torch.inference_mode():
        logits = network()(torch.from_numpy(images[:, None].astype(np.float32) / 255 * 4 - 2))
    return images, logits.argmax(1).numpy()


def broken():
    raise RuntimeError("the disk with the data is not mounted")
'''

SPEC: dict[str, Any] = {
    "name": "tiny",
    "task": "image-classification",
    "labels": ["a", "b", "c"],
    "image": {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.25]},
    "source": {"pytorch": {"factory": "zoo.tiny:network"}},
    "data": {
        "evaluation": {"factory": "zoo.tiny:pictures", "args": {"count": 60, "seed": 1}},
        "calibration": {"factory": "zoo.tiny:pictures", "args": {"count": 40, "seed": 2}},
    },
    "optimize": {"candidates": [["export_onnx"], ["export_onnx", {"quantize_static": {"samples": 32}}]]},
    "measure": {"rounds": 2, "requests": 5},
    "gates": {"accuracy": {"max_drop": 0.2}, "memory_peak": {"max_mb": 4000}},
    "sample": "zoo/sample.json",
}


def make_project(root: Path, **changes: Any) -> Path:
    (root / "zoo").mkdir(parents=True)
    (root / "specs").mkdir()
    (root / "zoo" / "tiny.py").write_text(CODE)
    (root / "zoo" / "sample.json").write_text(json.dumps({"inputs": [[0] * 8] * 8}))
    write_spec(root, **changes)
    return root


def write_spec(root: Path, **changes: Any) -> None:
    values = {key: value for key, value in (SPEC | changes).items() if value is not None}
    (root / "specs" / f"{values['name']}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def build(root: Path, *names: str) -> building.Outcome:
    (outcome,) = building.build_all(names, root)
    return outcome


def nodes(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (root / "build" / ".cache" / "nodes").iterdir()}


def published(root: Path) -> dict[str, str]:
    folder = root / "build" / "tiny"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose spec was built. Tests copy it; none changes it."""
    root = make_project(tmp_path_factory.mktemp("built") / "project")
    build(root)
    return root


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "another-place" / "project"))


def test_a_build_publishes_the_artifact_the_manifest_and_the_report(built: Path) -> None:
    folder = built / "build" / "tiny"
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json",
        "model.tar.gz",
        "report.html",
        "report.json",
        "report.md",
        "sample.json",
    }
    manifest = read_manifest(folder / "manifest.json")
    assert verify(manifest, folder, built) == []
    assert next(iter(manifest.inputs)) == "specs/tiny.yaml"
    assert "zoo/tiny.py" in manifest.inputs
    assert manifest.source.score == 1.0
    assert manifest.source.samples == 60
    assert all(gate.passed for gate in manifest.gates)
    assert [gate.gate for gate in manifest.gates] == ["accuracy.max_drop", "memory_peak.max_mb"]
    report = json.loads((folder / "report.json").read_text())
    assert [one["label"] for one in report["candidates"]] == [
        "export_onnx",
        "export_onnx → quantize_static(samples=32)",
    ]
    for one in (report["source"], *report["candidates"]):
        assert len(one["rounds_ms"]) >= 2  # more, where it was not clear whether a pass pays
        measured = one["measurement"]
        assert 0 < measured["latency_p50_ms"] <= measured["latency_p95_ms"]
        assert measured["memory_peak_mb"] > 20
    export = report["candidates"][0]
    assert export["measurement"]["score"] == 1.0
    # PyTorch alone takes hundreds of MiB: the processes are really separate.
    assert export["measurement"]["memory_peak_mb"] < report["source"]["measurement"]["memory_peak_mb"] / 2
    assert "export_onnx → quantize_static(samples=32)" in (folder / "report.md").read_text()


def test_the_served_artifact_answers_as_the_measured_model_does(built: Path, tmp_path: Path) -> None:
    from serving import handler

    with tarfile.open(built / "build" / "tiny" / "model.tar.gz") as tar:
        extract(tar, tmp_path)
    model = handler.model_fn(str(tmp_path))
    images, labels = _pictures(built, count=60, seed=1)
    body = json.dumps({"inputs": images.tolist()})
    request = model.task.decode_request(body, "application/json", model.config)
    answers = handler.predict_fn(request, model)
    right = [answer[0]["label"] == "abc"[label] for answer, label in zip(answers, labels, strict=True)]
    chosen = read_manifest(built / "build" / "tiny" / "manifest.json").chosen
    assert chosen.score == pytest.approx(sum(right) / 60, abs=1.5 / 60)


def _pictures(root: Path, **arguments: int) -> Any:
    from model_build import factories

    with factories.opened(root):
        return factories.call("zoo.tiny:pictures", arguments, root, "data")


def test_the_artifact_has_the_same_bytes_when_built_anew_in_another_directory(built: Path, tmp_path: Path) -> None:
    other = make_project(tmp_path / "somewhere" / "else")
    build(other)
    # The measurements decide which candidate is taken, so the nodes are compared one by one.
    for path in (built / "build" / ".cache" / "nodes").glob("*/model.onnx"):
        assert (other / path.relative_to(built)).read_bytes() == path.read_bytes()
    one, two = (read_manifest(root / "build" / "tiny" / "manifest.json") for root in (built, other))
    if one.candidate == two.candidate:
        assert one.artifact == two.artifact
    shutil.rmtree(other / "build" / "tiny")
    build(other)
    assert read_manifest(other / "build" / "tiny" / "manifest.json").artifact == two.artifact


NOTHING_HEAVY = """
import pathlib, sys
from model_build import build
(outcome,) = build.build_all((), pathlib.Path.cwd())
heavy = {"torch", "onnx", "onnxruntime", "transformers", "zoo"} & set(sys.modules)
assert not heavy, heavy
print(outcome.built)
"""


def run_python(root: Path, code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(building.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_unchanged_spec_does_no_work_and_imports_nothing_heavy(copy: Path) -> None:
    before = nodes(copy), published(copy)
    assert run_python(copy, NOTHING_HEAVY) == "False"
    assert (nodes(copy), published(copy)) == before


def test_changed_deployment_settings_and_gates_are_published_without_building_a_node(copy: Path) -> None:
    before, artifact = nodes(copy), published(copy)["model.tar.gz"]
    write_spec(copy, deploy={"instances": {"min": 3, "max": 5}}, gates={"size": {"max_mb": 5}})
    assert run_python(copy, NOTHING_HEAVY) == "True"
    assert nodes(copy) == before
    manifest = read_manifest(copy / "build" / "tiny" / "manifest.json")
    assert (manifest.deploy.instances.min, [gate.gate for gate in manifest.gates]) == (3, ["size.max_mb"])
    assert published(copy)["model.tar.gz"] == artifact


@pytest.mark.parametrize(
    "file", ["manifest.json", "model.tar.gz", "report.json", "report.md", "report.html", "sample.json"]
)
def test_a_published_file_that_was_changed_or_lost_is_published_again(copy: Path, file: str) -> None:
    before = published(copy)
    path = copy / "build" / "tiny" / file
    if file in ("report.md", "report.html"):
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    assert run_python(copy, NOTHING_HEAVY) == "True"
    assert published(copy)["model.tar.gz"] == before["model.tar.gz"]
    assert published(copy)["sample.json"] == before["sample.json"]
    assert verify(read_manifest(copy / "build" / "tiny" / "manifest.json"), copy / "build" / "tiny", copy) == []


def test_wheels_are_fetched_once_and_travel_in_the_artifact(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = copy / "index"
    index.mkdir()
    for name in ("numpy", "onnxruntime", "orjson", "pillow"):
        file = index / f"{name}-{version(name)}-cp312-cp312-manylinux_2_28_x86_64.whl"
        with zipfile.ZipFile(file, "w") as wheel:
            about = f"{name}-{version(name)}.dist-info"
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version(name)}\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: cp312-cp312-manylinux_2_28_x86_64\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    write_spec(copy, deploy={"network": {"isolation": True, "wheels": True}})
    before = nodes(copy)
    build(copy)
    assert len(nodes(copy).keys() - before.keys()) == 1
    first = published(copy)["model.tar.gz"]
    with tarfile.open(copy / "build/tiny/model.tar.gz") as archive:
        names = [name for name in archive.getnames() if name.startswith("code/wheels/")]
        options = archive.extractfile("code/requirements.txt").read().decode().splitlines()[:2]
    assert names == [f"code/wheels/{path.name}" for path in sorted(index.iterdir())]
    assert options == ["--no-index", "--find-links wheels"]
    # Without an index, from the cache, byte for byte the same.
    shutil.rmtree(index)
    shutil.rmtree(copy / "build/tiny")
    build(copy)
    assert published(copy)["model.tar.gz"] == first


def test_changed_code_of_a_factory_rebuilds_and_the_new_code_is_what_runs(copy: Path) -> None:
    before = nodes(copy)
    code = (copy / "zoo" / "tiny.py").read_text()
    (copy / "zoo" / "tiny.py").write_text(code.replace("manual_seed(5)", "manual_seed(6)"))
    problems = verify(read_manifest(copy / "build" / "tiny" / "manifest.json"), copy / "build" / "tiny", copy)
    assert problems == ["zoo/tiny.py: changed since tiny was built; run: slipway build tiny"]
    outcome = build(copy)
    assert outcome.built
    assert outcome.manifest.source.score == 1.0  # labels and model changed together
    assert len(nodes(copy)) > len(before)


def test_changed_arguments_of_a_data_factory_are_measured_anew_without_exporting_again(copy: Path) -> None:
    before = nodes(copy)
    write_spec(
        copy, data=SPEC["data"] | {"evaluation": {"factory": "zoo.tiny:pictures", "args": {"count": 30, "seed": 1}}}
    )
    assert build(copy).manifest.source.samples == 30
    added = [copy / "build" / ".cache" / "nodes" / name for name in set(nodes(copy)) - set(before)]
    assert added
    assert not [path for path in added if (path / "model.onnx").exists()]


def test_a_missed_gate_says_what_and_by_how_much_and_the_last_good_artifact_stays(copy: Path) -> None:
    before = published(copy)
    write_spec(copy, gates={"size": {"max_mb": 0.0001}, "latency_p50": {"max_ratio": 1000}})
    with pytest.raises(GatesMissed) as caught:
        build(copy)
    lines = caught.value.message.splitlines()
    assert lines[0] == "tiny: no candidate passes every gate; the last good artifact stays in place"
    assert lines[2].startswith("  export_onnx ")
    assert "≤ 0.0001 MB" in lines[2]
    assert "missed by" in lines[2]
    assert len(lines) == 4  # one miss a candidate: the latency gate passed
    assert published(copy) == before


def test_a_candidate_that_misses_a_gate_is_passed_over_though_it_would_be_chosen(copy: Path) -> None:
    report = json.loads((copy / "build" / "tiny" / "report.json").read_text())
    figures = {one["label"]: one["measurement"] for one in report["candidates"]}
    fastest = min(figures, key=lambda label: figures[label]["latency_p50_ms"])
    assert read_manifest(copy / "build" / "tiny" / "manifest.json").candidate == fastest
    smallest = min(figures, key=lambda label: figures[label]["size_mb"])
    (other,) = set(figures) - {smallest}
    write_spec(copy, gates={"accuracy": {"max_drop": 0.5}}, optimize=SPEC["optimize"] | {"choose": "smallest"})
    assert build(copy).manifest.candidate == smallest
    limit = {"size": {"max_mb": figures[smallest]["size_mb"]}}
    write_spec(copy, gates=limit, optimize=SPEC["optimize"] | {"choose": "fastest"})
    assert build(copy).manifest.candidate == smallest
    assert figures[other]["size_mb"] > figures[smallest]["size_mb"]


@pytest.mark.parametrize("after", [0, 1, 2, 4])
def test_a_killed_build_leaves_nothing_that_the_next_one_stumbles_over(tmp_path: Path, after: int) -> None:
    root = make_project(tmp_path / "p")
    code = "import pathlib; from model_build import build; build.build_all((), pathlib.Path.cwd())"
    environment = os.environ | {"PYTHONPATH": str(Path(building.__file__).parent.parent)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, env=environment)
    folder = root / "build" / ".cache" / "nodes"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if folder.is_dir() and len([path for path in folder.iterdir() if len(path.name) == 64]) >= after:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert verify(build(root).manifest, root / "build" / "tiny", root) == []
    assert [path.name for path in folder.iterdir() if path.name.startswith("tmp-")] == []
    assert sorted(path.name for path in (root / "build").iterdir()) == [".cache", "report.html", "tiny"]


def test_a_damaged_node_is_built_again_with_the_same_result(copy: Path) -> None:
    before = published(copy)["model.tar.gz"]
    for path in (copy / "build" / ".cache" / "nodes").glob("*/model.onnx"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    shutil.rmtree(copy / "build" / "tiny")
    assert build(copy).built
    assert published(copy)["model.tar.gz"] == before


@pytest.mark.parametrize(
    ("target", "machine", "reduced"),
    [
        ("ml.c7i.large", targets.VNNI, False),
        ("ml.c7i.large", targets.PLAIN, True),
        ("ml.m5.large", targets.VNNI, True),
    ],
)
def test_weights_have_7_bits_unless_target_and_machine_have_vnni(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, machine: Any, reduced: bool
) -> None:
    monkeypatch.setattr(targets, "this_machine", lambda: machine)
    root = make_project(
        tmp_path / "p",
        source={"onnx": {"path": "zoo/linear.onnx"}},
        task="tensor",
        labels=None,
        image=None,
        tensor={"inputs": {"x": {"shape": [64]}}, "outputs": ["logits"]},
        data=None,
        gates={"size": {"max_mb": 1}},
        optimize={"candidates": [["quantize_dynamic"]]},
        sample=None,
        deploy={"instance": target},
    )
    onnx_models.write_linear(root / "zoo" / "linear.onnx")
    outcome = build(root)
    report = json.loads((outcome.directory / "report.json").read_text())
    assert report["candidates"][0]["passes"][0]["options"]["reduce_range"] is reduced
    with tarfile.open(outcome.directory / "model.tar.gz") as tar:
        extract(tar, tmp_path / "out")
    weights = onnx_models.weights_of_8_bits(tmp_path / "out" / "model.onnx")
    assert max(int(np.abs(array.astype(int)).max()) for array in weights) == (64 if reduced else 127)
    # No evaluation data: latency was measured on made-up samples, accuracy was not, and the report says so.
    assert outcome.manifest.chosen.score is None
    assert "no evaluation data" in (outcome.directory / "report.md").read_text()


def test_a_spec_that_insists_on_8_bits_where_a_cpu_saturates_is_warned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "this_machine", lambda: targets.PLAIN)
    root = make_project(
        tmp_path / "p",
        optimize={"candidates": [["export_onnx", {"quantize_dynamic": {"reduce_range": False}}]]},
        gates=None,
    )
    outcome = build(root)
    assert "the CPU that measured it (x86 without VNNI) may saturate" in (outcome.directory / "report.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"source": {"pytorch": {"factory": "zoo.tiny:broken"}}},
            r"source\.pytorch\.factory: zoo\.tiny:broken failed at zoo/tiny\.py:\d+: "
            "RuntimeError: the disk with the data is not mounted",
        ),
        (
            {"data": {"evaluation": {"factory": "zoo.tiny:broken"}}, "optimize": {"candidates": [["export_onnx"]]}},
            r"data\.evaluation: zoo\.tiny:broken failed at zoo/tiny\.py:\d+: RuntimeError",
        ),
        (
            {"labels": ["a", "b"]},
            r"data\.\w+: zoo\.tiny:pictures returned labels from \d to 2, and the spec names 2 classes",
        ),
        (
            {"data": {"evaluation": {"factory": "zoo.tiny:network"}}, "optimize": {"candidates": [["export_onnx"]]}},
            r"data\.evaluation: zoo\.tiny:network must return \(samples, labels\); it returned Sequential",
        ),
        (
            {"image": {"mode": "RGB", "size": [8, 8]}},
            r"export_onnx: Sequential\.forward failed on pixels torch\.float32 \(2, 3, 8, 8\)",
        ),
    ],
)
def test_a_mistake_of_the_project_is_one_clear_message(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    root = make_project(tmp_path / "p", **changes)
    with pytest.raises(UserError, match=message):
        build(root)
    assert not (root / "build" / "tiny").exists()


def test_one_spec_that_fails_does_not_keep_the_others_from_being_built(copy: Path) -> None:
    write_spec(copy, name="broken-one", source={"pytorch": {"factory": "zoo.tiny:broken"}})
    write_spec(copy, deploy={"instance": "ml.m7i.large"})
    with pytest.raises(UserError, match="the disk with the data is not mounted"):
        building.build_all((), copy)
    manifest = read_manifest(copy / "build" / "tiny" / "manifest.json")
    assert manifest.deploy.instance == "ml.m7i.large"


def test_specs_with_problems_are_not_built(copy: Path) -> None:
    write_spec(copy, task="nonsense")
    before = published(copy)
    with pytest.raises(SpecError, match=r"specs/tiny\.yaml"):
        building.build_all((), copy)
    assert published(copy) == before


def test_two_builds_of_one_spec_at_once_both_end_well(tmp_path: Path) -> None:
    root = make_project(tmp_path / "p", optimize={"candidates": [["export_onnx"]]})
    code = "import pathlib; from model_build import build; print(build.build_all((), pathlib.Path.cwd())[0].built)"
    environment = os.environ | {"PYTHONPATH": str(Path(building.__file__).parent.parent)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=root, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = sorted(process.communicate(timeout=300)[0].strip() for process in processes)
    assert answers == ["False", "True"]


def test_the_library_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = make_project(tmp_path / "p")
    specs, _ = loading.load_all((), root)
    for path, spec in specs.items():
        building.build(spec, root, path=path)
    assert capfd.readouterr() == ("", "")
