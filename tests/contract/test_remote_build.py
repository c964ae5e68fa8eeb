"""`slipway build --on sagemaker` against the local AWS: the same artifact, its lines, its nodes, and its ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_models
import pytest
import yaml
from processes import wait_for

from localcloud import daemon
from slipway.local import Local, client

pytestmark = pytest.mark.contract

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project without PyTorch, and the local AWS that belongs to it."""
    root = tmp_path_factory.mktemp("remote") / "project"
    for folder in ("specs", "models"):
        (root / folder).mkdir(parents=True)
    (root / "Pulumi.yaml").write_text("name: p\n")
    (root / "Pulumi.local.yaml").write_text("config:\n  slipway:region: us-east-1\n  slipway:tags: {team: vision}\n")
    onnx_models.write_linear(root / "models/one.onnx", seed=1)
    write_spec(root, "one")
    (root.parent / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        # Builds here and in jobs wait for those of this machine that measure; no figure matters to these tests.
        patch.setenv("TMPDIR", str(root.parent / "tmp"))
        daemon.start(Local(root).cloud, arguments=("--port", "0"))
        try:
            yield root
        finally:
            daemon.stop(Local(root).cloud)


def write_spec(root: Path, name: str, max_mb: float = 1, rounds: int = 1) -> None:
    spec = {
        "name": name,
        "task": "tensor",
        "source": {"onnx": {"path": "models/one.onnx"}},
        "tensor": {"inputs": {"x": {"shape": [64]}}, "outputs": ["logits"]},
        "optimize": {"candidates": [["quantize_dynamic"]], "choose": "smallest"},
        "measure": {"rounds": rounds, "requests": 5 if rounds == 1 else 10_000},
        "gates": {"size": {"max_mb": max_mb}},
    }
    (root / f"specs/{name}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))


def slipway(root: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), cwd=root, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "slipway", *arguments]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLIPWAY_", "AWS_"))}
    return kept | {"PYTHONPATH": str(PROJECT)}


def artifact(root: Path, name: str = "one") -> str:
    sha256: str = json.loads((root / f"build/{name}/manifest.json").read_bytes())["artifact"]["sha256"]
    return sha256


def sagemaker(root: Path) -> Any:
    return client("sagemaker", Local(root).endpoint())


def test_a_remote_build_gives_the_artifact_of_a_local_one_and_leaves_nothing_to_do(root: Path) -> None:
    slipway(root, "build", "one")
    here = artifact(root)
    shutil.rmtree(root / "build")

    done = slipway(root, "build", "one", "--on", "sagemaker")
    assert artifact(root) == here
    assert "│   ✓ quantize_dynamic" in done.stderr, "the job's lines did not arrive"
    assert done.stdout.startswith("one: quantize_dynamic · ")
    (job,) = sagemaker(root).list_processing_jobs(NameContains="build-one-")["ProcessingJobSummaries"]
    assert job["ExitMessage"] == "built one"
    assert f"SageMaker job {job['ProcessingJobName']}, ml.c7i.large" in (root / "build/one/report.md").read_text()
    tags = sagemaker(root).list_tags(ResourceArn=job["ProcessingJobArn"])["Tags"]
    assert {"Key": "team", "Value": "vision"} in tags

    nodes = sorted(path.name for path in (root / "build/.cache/nodes").iterdir())
    again = slipway(root, "build", "one")
    assert "up to date" in again.stderr
    assert sorted(path.name for path in (root / "build/.cache/nodes").iterdir()) == nodes
    shutil.rmtree(root / "build/one")
    assert "✓ quantize_dynamic" not in slipway(root, "build", "one").stderr, "a node was made that the job made"
    assert artifact(root) == here


def test_only_what_changed_is_sent_and_a_job_without_a_network_gives_the_same(root: Path) -> None:
    (root / "models/README").write_text("another file of the folder\n")
    done = slipway(root, "build", "one", "--on", "sagemaker", "--set", "isolated=true")
    assert "; 1 new, 0.0 MB" in done.stderr
    assert "│ packages: the image's own" in done.stderr
    assert "1 models" in done.stderr


def test_what_a_job_fails_of_arrives_and_other_models_come_back(root: Path) -> None:
    write_spec(root, "heavy", max_mb=0.0001)
    done = slipway(root, "build", "one", "heavy", "--on", "sagemaker", code=1)
    assert "heavy: no candidate passes every gate" in done.stderr
    assert "next: change the gates or the candidates" in done.stderr
    assert (root / "build/one/manifest.json").is_file()
    assert not (root / "build/heavy").exists()
    (job,) = sagemaker(root).list_processing_jobs(NameContains="2-models")["ProcessingJobSummaries"]
    assert job["ProcessingJobStatus"] == "Failed"
    assert "heavy: no candidate passes" in job["ExitMessage"]


def test_an_interrupted_build_stops_its_job(root: Path) -> None:
    write_spec(root, "slow", rounds=1000)
    with subprocess.Popen(
        command("build", "slow", "--on", "sagemaker"),
        cwd=root,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        end = time.monotonic() + 120
        while "running" not in process.stderr.readline():
            assert time.monotonic() < end
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert "is being stopped" in said

    def stopped() -> bool:
        (job,) = sagemaker(root).list_processing_jobs(NameContains="build-slow")["ProcessingJobSummaries"]
        return bool(job["ProcessingJobStatus"] == "Stopped")

    wait_for(stopped, "the end of the job")
