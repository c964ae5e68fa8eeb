"""GitOps rehearsed on this machine: a change is reviewed, merged, deployed, gated, rolled back and reverted.

A bare repository, a clone of an author's and one that stands for the hosted runner, whose local AWS holds dev, staging
and prod. The tests run in order, as the story does; each step of the runner's is one of the workflows'.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import yaml
from onnx_models import write_linear

from localcloud.traffic.arrivals import Curve, Phase, arrivals
from localcloud.traffic.open_loop import OpenLoop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

CHECKOUT = Path(__file__).parents[2]
ENVIRONMENTS = ("dev", "staging", "prod")
SPEED = 60

DATA = '''
"""Labels are what the first version answers, whatever became of it since."""

import numpy as np


def evaluation():
    random = np.random.default_rng(0)
    first, second = random.normal(size=(64, 32)), random.normal(size=(32, 8))
    x = np.random.default_rng(1).normal(size=(60, 64)).astype(np.float32)
    return [{"x": row} for row in x], (np.maximum(x @ first, 0) @ second).argmax(1).astype(np.int64)
'''
SPEC: dict[str, Any] = {
    "name": "tiny",
    "task": "tensor",
    "tensor": {"inputs": {"x": {"shape": [64]}}, "outputs": ["logits"]},
    "source": {"onnx": {"path": "zoo/tiny.onnx"}},
    "data": {"evaluation": {"factory": "zoo.tiny:evaluation"}},
    "optimize": {"candidates": [[]]},
    "measure": {"rounds": 2, "requests": 5},
    "gates": {"accuracy": {"min": 0.9}, "memory_peak": {"max_mb": 4000}},
    "sample": "zoo/sample.json",
    "deploy": {"instances": {"min": 1, "max": 1}},
    "environments": {
        "dev": {
            "deploy": {
                "instances": {"min": 2, "max": 2},
                "rollout": {"type": "canary", "size_percent": 50, "interval": "10m"},
            }
        },
        "prod": {"deploy": {"instances": {"min": 2, "max": 2}}},
    },
}
# It starts, and every prediction fails: nothing that a build measures runs it.
FAULTY = """
from serving.handler import input_fn, model_fn, output_fn


def predict_fn(data, model):
    raise RuntimeError("a library of this handler is another one than where it was tried")
"""
INPUT = np.linspace(-1, 1, 64, dtype=np.float32)


@dataclass
class Clone:
    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    told: str = ""
    """Standard error of the last command: its steps."""

    def git(self, *arguments: str) -> str:
        return self.run("git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments)

    def slipway(self, *arguments: str, fails: bool = False) -> str:
        started = time.monotonic()
        said = self.run(sys.executable, "-m", "slipway", *arguments, fails=fails)
        print(f"slipway {' '.join(arguments)}: {time.monotonic() - started:.1f} s")
        return said

    def run(self, *command: str, fails: bool = False) -> str:
        """What the command printed; all that it said, where it has to fail."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_", "GIT_"))}
        done = subprocess.run(
            command,
            cwd=self.root,
            env=kept | self.variables,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=600,
        )
        self.told = done.stderr
        if done.returncode != int(fails):
            pytest.fail(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr if fails else done.stdout

    def commit(self, subject: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", subject)


@dataclass
class Runner(Clone):
    """The clone that stands for the hosted runner and for AWS."""

    def check_out(self, reference: str) -> None:
        self.git("fetch", "--quiet", "origin")
        self.git("checkout", "--quiet", "--detach", f"origin/{reference}")

    def review(self, fails: bool = False) -> str:
        """The steps of pull-request.yml; the comment."""
        self.slipway("pr-comment", "--base", "origin/main", "--env", "dev", "--output", "comment.md", fails=fails)
        return (self.root / "comment.md").read_text()

    def deploy(self, *environments: str) -> list[str]:
        """The steps of deploy.yml."""
        self.check_out("main")
        self.slipway("build")
        return [self.slipway("deploy", "--env", environment) for environment in environments]

    def server(self) -> str:
        return str(json.loads((self.root / ".slipway/local/server.json").read_text())["endpoint"])

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.server(),
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def digests(self) -> dict[str, str]:
        """Environment → the digest that its endpoint's model data is named by."""
        found = {}
        sagemaker = self.client("sagemaker")
        for endpoint in sagemaker.list_endpoints()["Endpoints"]:
            config = sagemaker.describe_endpoint(EndpointName=endpoint["EndpointName"])["EndpointConfigName"]
            (variant,) = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
            data = sagemaker.describe_model(ModelName=variant["ModelName"])["PrimaryContainer"]["ModelDataUrl"]
            found[endpoint["EndpointName"].removeprefix("tiny-")] = data.rpartition("/")[2].removesuffix(".tar.gz")
        return found

    def built(self) -> str:
        return str(json.loads((self.root / "build/tiny/manifest.json").read_text())["artifact"]["sha256"])

    def predict(self, environment: str) -> list[float]:
        answer = self.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=f"tiny-{environment}",
            ContentType="application/json",
            Body=json.dumps({"inputs": {"x": [INPUT.tolist()]}}),
        )
        (row,) = json.load(answer["Body"])["outputs"]["logits"]
        return [float(value) for value in row]


@dataclass
class World:
    author: Clone
    runner: Runner
    first: str = ""
    """Digest of the version that was deployed first."""


def write_weights(path: Path, scale: float = 1, seed: int = 0) -> None:
    """The network; `scale` multiplies its answers and leaves their order, another seed is another network."""
    import onnx

    write_linear(path, seed=seed)
    model = onnx.load(path)
    second = model.graph.initializer[1]
    array = onnx.numpy_helper.to_array(second) * np.float32(scale)
    second.CopyFrom(onnx.numpy_helper.from_array(array, second.name))
    onnx.save(model, path)


def expected(scale: float = 1) -> list[float]:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(64, 32)), random.normal(size=(32, 8))
    values: list[float] = (np.maximum(INPUT @ first, 0) @ second * scale).tolist()
    return values


def write_spec(root: Path, **changes: Any) -> None:
    (root / "specs/tiny.yaml").write_text(yaml.safe_dump(SPEC | changes, sort_keys=False))


def write_project(root: Path) -> None:
    for name in ("specs", "zoo"):
        (root / name).mkdir()
    (root / "infra").symlink_to(CHECKOUT / "infra")
    (root / "Pulumi.yaml").write_bytes((CHECKOUT / "Pulumi.yaml").read_bytes())
    for name in ENVIRONMENTS:
        config = {
            "pulumi:disable-default-providers": ["aws"],
            "slipway:region": "us-east-1",
            "slipway:cloud": "local",
            "slipway:tags": {"environment": name},
        }
        (root / f"Pulumi.{name}.yaml").write_text(yaml.safe_dump({"config": config}))
    (root / ".gitignore").write_text(".venv\n.slipway/\nbuild/\n__pycache__/\ncomment.md\nPulumi.pr-*.yaml\n")
    (root / "zoo/tiny.py").write_text(DATA)
    (root / "zoo/sample.json").write_text(json.dumps({"inputs": {"x": [INPUT.tolist()]}}))
    write_weights(root / "zoo/tiny.onnx")
    write_spec(root)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("gitops")
    Clone(place).run("git", "init", "--quiet", "--bare", "--initial-branch", "main", "upstream.git")
    for name in ("author", "runner"):
        Clone(place).run("git", "clone", "--quiet", "upstream.git", name)
    author = Clone(place / "author")
    author.git("checkout", "--quiet", "-b", "main")
    write_project(author.root)
    author.commit("A model")
    author.git("push", "--quiet", "origin", "main")
    runner = Runner(place / "runner", {"SLIPWAY_BUILD_CACHE": (place / "cache").as_uri()})
    (runner.root / ".venv").symlink_to(sys.prefix)
    runner.check_out("main")
    runner.slipway("local", "start", "--port", str(_free_port()), "--speed", str(SPEED))
    try:
        yield World(author, runner)
    finally:
        runner.slipway("local", "stop")
        shutil.rmtree(place, ignore_errors=True)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stored(world: World) -> dict[Path, int]:
    """The files of the shared cache: what is built is stored there."""
    files = (world.runner.root.parent / "cache").rglob("*.tar.gz")
    return {path: path.stat().st_mtime_ns for path in files}


def propose(world: World, branch: str) -> None:
    """The author pushes a branch; the runner checks it out."""
    world.author.commit(branch)
    world.author.git("push", "--quiet", "--force", "origin", f"HEAD:{branch}")
    world.runner.check_out(branch)


def merge(world: World) -> None:
    world.author.git("push", "--quiet", "origin", "HEAD:main")


@contextmanager
def load(url: str, rate: float) -> Iterator[OpenLoop]:
    """An open-loop client beside the block; it ends when every request was answered."""
    client = OpenLoop(
        url, json.dumps({"inputs": {"x": [INPUT.tolist()]}}).encode(), {"content-type": "application/json"}
    )
    curve, over = Curve([Phase("steady", 1.0, rate)]), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(client.run(arrivals(curve, 1.0, 1), over.is_set)))
    thread.start()
    try:
        yield client
    finally:
        over.set()
        thread.join()


def test_a_merge_brings_one_artifact_to_dev_staging_and_prod(world: World) -> None:
    world.runner.check_out("main")
    world.runner.slipway("build")
    assert "read the source" in world.runner.told, "the first build has to do the work"
    said = [world.runner.slipway("deploy", "--env", environment) for environment in ENVIRONMENTS]
    world.first = world.runner.built()
    assert world.runner.digests() == dict.fromkeys(ENVIRONMENTS, world.first)
    for environment, told in zip(ENVIRONMENTS, said, strict=True):
        assert told.startswith(f"tiny-{environment}: {world.first[:12]}")
        assert world.runner.predict(environment) == pytest.approx(expected(), rel=1e-4)


def test_a_change_is_told_in_a_comment_and_serves_once_merged(world: World) -> None:
    write_weights(world.author.root / "zoo/tiny.onnx", scale=2)
    propose(world, "louder")
    world.runner.slipway("check")
    comment = world.runner.review()
    print(comment)
    assert "⛔" not in comment
    assert "`tiny`" in comment
    assert "endpoint configuration" in comment
    # Nothing was deployed by looking.
    assert set(world.runner.digests().values()) == {world.first}
    merge(world)
    world.runner.deploy(*ENVIRONMENTS)
    second = world.runner.built()
    assert second != world.first
    assert world.runner.digests() == dict.fromkeys(ENVIRONMENTS, second)
    assert world.runner.predict("prod") == pytest.approx(expected(2), rel=1e-4)


def test_a_broken_model_is_gated_in_review_and_in_the_build(world: World) -> None:
    before = world.runner.digests()
    write_weights(world.author.root / "zoo/tiny.onnx", seed=7)
    propose(world, "broken")
    comment = world.runner.review(fails=True)
    print(comment)
    assert "**not built**" in comment
    assert "no candidate passes every gate" in comment
    assert "Policies:" not in comment, "nobody looked at them"
    said = world.runner.slipway("build", fails=True)
    assert "accuracy" in said
    # And should it be merged all the same, nothing of it is deployed.
    said = world.runner.slipway("deploy", "--env", "dev", fails=True)
    assert "slipway build tiny" in said
    assert world.runner.digests() == before
    world.author.git("reset", "--quiet", "--hard", "origin/main")


def test_one_that_fails_in_service_is_rolled_back_and_goes_no_further(world: World) -> None:
    before = world.runner.digests()
    (world.author.root / "zoo/inference.py").write_text(FAULTY)
    write_spec(world.author.root, handler={"inference": "zoo/inference.py"})
    propose(world, "own-handler")
    world.runner.review()
    merge(world)
    world.runner.check_out("main")
    world.runner.slipway("build")
    url = f"{world.runner.server()}/endpoints/tiny-dev/invocations"
    with load(url, 60) as client:
        said = world.runner.slipway("deploy", "--env", "dev", fails=True)
    assert "rolled the update back" in said
    assert any(not answer.good for answer in client.answers), "the canary took requests"
    assert world.runner.digests() == before
    assert world.runner.predict("dev") == pytest.approx(expected(2), rel=1e-4)


def test_a_revert_serves_the_former_artifact_without_building(world: World) -> None:
    # Both changes; the runner is a fresh machine, which has the shared cache alone.
    world.author.git("revert", "--no-edit", "HEAD", "HEAD~1")
    world.author.git("push", "--quiet", "origin", "HEAD:main")
    shutil.rmtree(world.runner.root / "build")
    store = stored(world)
    world.runner.check_out("main")
    world.runner.slipway("build")
    assert "package" in world.runner.told
    for work in ("read the source", "encode", "measure"):
        assert work not in world.runner.told
    assert stored(world) == store
    for environment in ENVIRONMENTS:
        world.runner.slipway("deploy", "--env", environment)
    assert world.runner.built() == world.first
    assert world.runner.digests() == dict.fromkeys(ENVIRONMENTS, world.first)
    assert world.runner.predict("prod") == pytest.approx(expected(), rel=1e-4)


def test_a_pull_request_gets_endpoints_of_its_own_that_are_swept_when_its_time_is_over(world: World) -> None:
    said = world.runner.slipway("preview-env", "up", "--number", "7", "--ttl", "1h")
    assert said.startswith(f"tiny-pr-7: {world.first[:12]}")
    config = world.runner.client("sagemaker").describe_endpoint(EndpointName="tiny-pr-7")
    assert [variant["CurrentInstanceCount"] for variant in config["ProductionVariants"]] == [1]
    assert "until" in world.runner.slipway("preview-env", "sweep")
    assert "pr-7" in world.runner.digests()
    world.runner.slipway("preview-env", "up", "--number", "7", "--ttl", "1s")
    assert world.runner.slipway("preview-env", "sweep") == "pr-7: destroyed\n"
    assert world.runner.slipway("preview-env", "sweep") == ""
    assert world.runner.digests() == dict.fromkeys(ENVIRONMENTS, world.first)
    assert len(world.runner.client("s3").list_buckets()["Buckets"]) == len(ENVIRONMENTS)
    assert "there is none" in world.runner.slipway("preview-env", "down", "--number", "7")
    assert not (world.runner.root / "Pulumi.pr-7.yaml").exists()
