"""`slipway diagnose` on a small build: what it measures, what it says, and its exit code."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from serving_artifacts import Client, running_server
from test_build import build, make_project, write_spec

from model_build import diagnosis, loading
from model_build.manifest import read_manifest
from slipway import cli

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("diagnosed") / "project")
    (root / "Pulumi.yaml").touch()
    build(root)
    return root


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "project"))


def run(root: Path, *arguments: str) -> int:
    return cli.run(["--root", str(root), "diagnose", "tiny", *arguments])


class Cloud:
    """Describes one endpoint, and passes requests on to a real server on the artifact."""

    def __init__(self, client: Client, digest: str) -> None:
        self.client, self.digest = client, digest

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:
        assert EndpointName == "tiny-local"
        return {"EndpointStatus": "InService", "EndpointConfigName": "c"}

    def describe_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:
        return {"ProductionVariants": [{"ModelName": "n"}]}

    def describe_model(self, ModelName: str) -> dict[str, Any]:
        return {"PrimaryContainer": {"ModelDataUrl": f"s3://b/{self.digest}/model.tar.gz"}}

    def invoke_endpoint(self, *, Body: bytes, ContentType: str, **_: Any) -> dict[str, Any]:
        status, _, answer = self.client.request(Body, ContentType, accept="application/json")
        assert status == 200, answer
        return {"Body": io.BytesIO(answer)}


def test_an_artifact_and_its_endpoint_that_hold_their_gates_exit_0(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from slipway import environments

    artifact = copy / "build/tiny/model.tar.gz"
    with tarfile.open(artifact) as archive:
        archive.extractall(tmp_path / "model", filter="data")
    digest = read_manifest(copy / "build/tiny/manifest.json").artifact.sha256
    with running_server(tmp_path / "model") as (_, client):
        monkeypatch.setattr(environments, "client", lambda root, environment, service: Cloud(client, digest))
        assert run(copy) == 0
        said = capsys.readouterr().out
        assert "1.0000 of 60" in said  # the network answers its own labels, through the endpoint too
        assert "tiny holds its gates." in said
        monkeypatch.setattr(environments, "client", lambda root, environment, service: Cloud(client, "0" * 64))
        assert run(copy, "--samples", "30") == 1
        assert "runs the artifact 000000000000" in capsys.readouterr().out


def test_a_missed_gate_exits_1_and_names_the_candidate_that_would_hold(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = json.loads((copy / "build/tiny/report.json").read_text())
    figures = {one["label"]: (one["chosen"], one["measurement"]["size_mb"]) for one in written["candidates"]}
    ((_, size),) = [(label, size) for label, (is_chosen, size) in figures.items() if is_chosen]
    ((other, smaller),) = [(label, size) for label, (is_chosen, size) in figures.items() if not is_chosen]
    # A gate that the deployed one breaks from now on; the other holds it or not, by its size.
    write_spec(copy, gates={"accuracy": {"max_drop": 0.5}, "size": {"max_mb": size * 0.999}})
    assert run(copy, "--no-endpoint") == 1
    said = capsys.readouterr().out
    assert "missed by" in said
    assert "specs/tiny.yaml: changed since tiny was built" in said
    holds = smaller <= size * 0.999
    assert (f"Would hold, measured here just now: {other}" in said) is holds
    assert ("No other candidate of the report holds every gate here" in said) is not holds


def test_an_artifact_that_is_not_what_was_built_is_found(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = tmp_path / "other"
    scratch.mkdir()
    with tarfile.open(copy / "build/tiny/model.tar.gz") as archive:
        archive.extractall(scratch, filter="data")
    (scratch / "slipway.json").write_text("{}")
    with tarfile.open(copy / "build/tiny/model.tar.gz", "w:gz") as archive:
        for path in sorted(scratch.iterdir()):
            archive.add(path, path.name)
    assert run(copy, "--no-endpoint") == 1
    assert "is not the artifact that was built" in capsys.readouterr().out


def test_a_candidate_whose_model_is_gone_from_the_cache_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "build/.cache/nodes")
    (path,) = loading.find(["tiny"], copy)
    found = diagnosis.diagnose(loading.load(path, copy), copy, path)
    assert len(found.missing) == 1
    assert set(found.evidence) == {"source", diagnosis.PUBLISHED}
    assert found.problems == []
    assert found.missed == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no archive", "is no artifact"), (None, "model.tar.gz is missing")],
)
def test_a_broken_artifact_is_one_message(
    copy: Path, content: bytes | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = copy / "build/tiny/model.tar.gz"
    artifact.unlink()
    if content is not None:
        artifact.write_bytes(content)
    assert run(copy, "--no-endpoint") == 1
    captured = capsys.readouterr()
    assert message in captured.err + captured.out


def test_what_was_never_built_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_project(tmp_path / "p")
    (root / "Pulumi.yaml").touch()
    assert run(root, "--no-endpoint") == 1
    assert "run: slipway build tiny" in capsys.readouterr().err
