"""A project of its own for the real program on the real engine: this checkout's `infra`, models that really serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from built_models import write_model
from localcloud_rig import REAL, Cloud, running
from serving_artifacts import MATRIX, SECTIONS, write_artifact

from model_build.archive import pack
from model_build.manifest import Manifest
from model_build.package import contents
from model_build.spec import Spec
from toolchain.engine import Engine
from toolchain.environment import variables

CHECKOUT = Path(__file__).parents[2]
INPUT = [1.0, 2.0, 3.0]


@dataclass(frozen=True)
class Project:
    root: Path
    pulumi: Path
    environment: dict[str, str]
    cloud: Cloud
    stack: str = "local"

    def write_model(self, name: str, scale: float = 1, **settings: Any) -> Manifest:
        """A packaged model that answers `scale` times what `expected` says; another scale is another artifact."""
        return write_model(self.root, name, artifact=self.artifact(name, scale), **settings)

    def artifact(self, name: str, scale: float) -> bytes:
        scratch = self.root / "scratch" / f"{name}-{scale}"
        packed = scratch / "model.tar.gz"
        if not packed.is_file():
            write_artifact(scratch, "tensor", code=False)
            model = onnx.load(scratch / "model.onnx")
            model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(MATRIX * np.float32(scale), "matrix"))
            onnx.save(model, scratch / "model.onnx")
            spec = Spec.model_validate(
                {"name": name, "task": "tensor", "source": {"onnx": {"path": "model.onnx"}}, **SECTIONS["tensor"]}
            )
            pack(contents(spec, scratch / "model.onnx", self.root), packed)
        return packed.read_bytes()

    def run(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [self.pulumi, *arguments, "--non-interactive", "--color", "never"],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    def require(self, *arguments: str) -> str:
        started = time.monotonic()
        code, output = self.run(*arguments)
        print(f"pulumi {' '.join(arguments)}: {time.monotonic() - started:.1f} s")
        assert code == 0, output
        return output

    def up(self) -> str:
        return self.require("up", "--yes", "--skip-preview", "--stack", self.stack)

    def unchanged(self) -> bool:
        """Whether neither the program nor, after a refresh, the cloud differs from the state."""
        code, output = self.run("preview", "--refresh", "--expect-no-changes", "--stack", self.stack)
        if code != 0:
            print(output)
        return code == 0

    def outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = json.loads(self.require("stack", "output", "--json", "--stack", self.stack))
        return outputs

    def resources(self) -> list[dict[str, Any]]:
        state = json.loads(self.require("stack", "export", "--stack", self.stack))
        return [item for item in state["deployment"].get("resources", []) if item["type"].startswith("aws:")]

    def kinds(self) -> Counter[str]:
        return Counter(item["type"].split(":")[-1] for item in self.resources())

    def predict(self, endpoint: str) -> list[float]:
        body = json.dumps({"inputs": [INPUT]}).encode()
        answer = self.cloud.invoke(endpoint, body, ContentType="application/json")
        (row,) = answer["outputs"]["output"]
        return [float(value) for value in row]


def expected(scale: float = 1) -> list[float]:
    values: list[float] = (np.asarray(INPUT) @ MATRIX * scale).tolist()
    return values


def lay_out(root: Path, *copied: str) -> None:
    """A project's folder, with this checkout's program."""
    root.mkdir(parents=True)
    for name in ("infra", "model_build"):
        (root / name).symlink_to(CHECKOUT / name)
    (root / ".venv").symlink_to(sys.prefix)
    for name in copied:
        (root / name).write_bytes((CHECKOUT / name).read_bytes())


@contextmanager
def project(root: Path, engine: Engine, arguments: tuple[str, ...] = REAL) -> Iterator[Project]:
    """With a local AWS of its own; everything is stopped in the end."""
    lay_out(root, "Pulumi.yaml", "Pulumi.local.yaml")
    with running(root / ".slipway/local", arguments) as cloud:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
        environment = kept | variables(root, engine) | {"AWS_ENDPOINT_URL": cloud.server.endpoint}
        from localcloud.provider.install import install

        install(engine.pulumi, environment)
        made = Project(root, engine.pulumi, environment, cloud)
        made.require("stack", "init", "local")
        yield made
