"""The manifest: what provisioning trusts, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from model_build.manifest import (
    Artifact,
    Deploy,
    GateResult,
    InstanceRange,
    Manifest,
    ManifestError,
    Measurement,
    read_manifest,
    verify,
)

ARTIFACT = b"stands for model.tar.gz"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A project with one build; gives the build's folder."""
    folder = tmp_path / "build" / "fashion"
    folder.mkdir(parents=True)
    (folder / "model.tar.gz").write_bytes(ARTIFACT)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "fashion.yaml").write_text("name: fashion\n")
    measured = Measurement(
        metric="accuracy",
        score=0.9,
        samples=10,
        latency_p50_ms=1,
        latency_p95_ms=2,
        memory_peak_mb=50,
        size_mb=1,
        threads=1,
    )
    manifest = Manifest(
        name="fashion",
        task="image-classification",
        inputs={"specs/fashion.yaml": _digest(b"name: fashion\n")},
        artifact=Artifact(sha256=_digest(ARTIFACT), bytes=len(ARTIFACT)),
        candidate="export_onnx",
        source=measured,
        chosen=measured,
        gates=(),
        deploy=Deploy(),
        environments={"prod": Deploy(instances=InstanceRange(min=2, max=4))},
    )
    (folder / "manifest.json").write_text(manifest.sealed().to_json())
    return folder


def test_what_was_sealed_is_read_and_verified(built: Path) -> None:
    manifest = read_manifest(built / "manifest.json")
    assert manifest.name == "fashion"
    assert verify(manifest, built, built.parents[1]) == []


def test_sealing_twice_gives_the_same_digest(built: Path) -> None:
    manifest = read_manifest(built / "manifest.json")
    assert manifest.sealed() == manifest


def test_an_environment_without_an_overlay_gets_the_common_settings(built: Path) -> None:
    manifest = read_manifest(built / "manifest.json")
    assert manifest.deployment("prod").instances.max == 4
    assert manifest.deployment("dev") == manifest.deploy


@pytest.mark.parametrize(
    "change",
    [
        {"candidate": "export_onnx → quantize_static"},
        {"description": "changed"},
        {"digest": "0" * 64},
        {"environments": {}},
        {"gates": [{"gate": "size.max_mb", "limit": 1, "measured": 2, "passed": True}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_manifest_is_refused_with_the_command_that_mends_it(built: Path, change: dict[str, object]) -> None:
    path = built / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ManifestError, match=r"changed after it was built.*run: slipway build fashion"):
        read_manifest(path)


def test_a_manifest_without_a_digest_is_refused(built: Path) -> None:
    path = built / "manifest.json"
    values = json.loads(path.read_text())
    del values["digest"]
    path.write_text(json.dumps(values))
    with pytest.raises(ManifestError, match="changed after it was built"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a manifest of this version"),
        ("{", "not a manifest of this version"),
        ("[]", "not a manifest of this version"),
        ('{"format": 2}', r"not a manifest of this version \(format"),
    ],
)
def test_what_is_no_manifest_is_refused(built: Path, content: str, message: str) -> None:
    (built / "manifest.json").write_text(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(built / "manifest.json")


def test_a_missing_manifest_names_the_build(built: Path) -> None:
    (built / "manifest.json").unlink()
    with pytest.raises(ManifestError, match="nothing was built; run: slipway build fashion"):
        read_manifest(built / "manifest.json")


def test_a_manifest_in_the_folder_of_another_model_is_refused(built: Path) -> None:
    other = built.rename(built.with_name("other"))
    with pytest.raises(ManifestError, match="is of model 'fashion', not 'other'"):
        read_manifest(other / "manifest.json")


def test_a_changed_and_a_missing_input_are_stale(built: Path) -> None:
    manifest, root = read_manifest(built / "manifest.json"), built.parents[1]
    (root / "specs" / "fashion.yaml").write_text("name: fashion\ndescription: new\n")
    assert verify(manifest, built, root) == [
        "specs/fashion.yaml: changed since fashion was built; run: slipway build fashion"
    ]
    (root / "specs" / "fashion.yaml").unlink()
    assert "is gone" in verify(manifest, built, root)[0]


@pytest.mark.parametrize(
    "content", [ARTIFACT[:-1], ARTIFACT[:-1] + b"!", None], ids=["truncated", "changed", "missing"]
)
def test_another_artifact_is_told(built: Path, content: bytes | None) -> None:
    manifest = read_manifest(built / "manifest.json")
    if content is None:
        (built / "model.tar.gz").unlink()
    else:
        (built / "model.tar.gz").write_bytes(content)
    (problem,) = verify(manifest, built, built.parents[1])
    assert "model.tar.gz" in problem and "run: slipway build fashion" in problem


def test_fields_that_a_manifest_has_no_use_for_are_not_written_so_that_older_ones_keep_their_digest() -> None:
    plain = GateResult(gate="size.max_mb", limit=1, measured=1, passed=True)
    assert plain.model_dump(mode="json") == {"gate": "size.max_mb", "limit": 1.0, "measured": 1.0, "passed": True}
    open_one = GateResult(gate="x.y", limit=1, measured=1, passed=False, interval=(0.9, 1.1), unresolved=True)
    assert open_one.model_dump(mode="json")["unresolved"] is True
    assert GateResult.model_validate(open_one.model_dump(mode="json")) == open_one
