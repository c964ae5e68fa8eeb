"""Many models on the real engine: `python -m bench.pulumi_scale [--quick]`. Preview, up, up again, destroy.

Measured are the program, the engine, the plugin and the control plane of the local AWS. What answers in an endpoint is
`bench/idle_replica.py` (`--real` for the real one): how long a hundred servers take to start says nothing of Pulumi.
Both ways of the file backend are run: with a checkpoint at every step, and with none before the end, which is for
stacks that can be thrown away.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.outcome import Bar, table, tell
from localcloud import daemon
from localcloud.provider.install import install
from model_build.manifest import Artifact, Deploy, Manifest, Measurement, file_sha256
from toolchain.engine import ensure
from toolchain.environment import variables

CHECKOUT = Path(__file__).resolve().parents[1]
FEW, MANY = 10, 100
# What the engine has for stacks that can be thrown away: the state is written once, at the end.
WITHOUT_CHECKPOINTS = {"PULUMI_EXPERIMENTAL": "true", "PULUMI_SKIP_CHECKPOINTS": "true"}
DEPLOY = {"instances": {"min": 1, "max": 2}}
MEASURED = Measurement(
    metric="accuracy",
    score=1.0,
    samples=1,
    latency_p50_ms=1.0,
    latency_p95_ms=1.0,
    memory_peak_mb=1.0,
    size_mb=1.0,
    threads=1,
)


@dataclass(frozen=True)
class Times:
    """Seconds of each command on one stack, and how many resources it has."""

    models: int
    checkpoints: bool
    resources: int
    preview: float
    up: float
    again: float
    destroy: float

    @property
    def each(self) -> float:
        """Milliseconds a resource, of an `up` from nothing."""
        return 1000 * self.up / self.resources


@dataclass(frozen=True)
class Project:
    root: Path
    pulumi: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.pulumi, *arguments, "--non-interactive", "--color", "never", "--stack", "local"],
            cwd=self.root,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"pulumi {' '.join(arguments)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout

    def seconds(self, *arguments: str) -> float:
        started = time.monotonic()
        self.run(*arguments)
        took = time.monotonic() - started
        print(f"  pulumi {arguments[0]}: {took:.1f} s", file=sys.stderr, flush=True)
        return took

    def resources(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("stack", "export"))["deployment"].get("resources", [])
        return found


def measure(models: int, *, checkpoints: bool, real: bool = False) -> Times:
    print(f"{models} models, {'a checkpoint a step' if checkpoints else 'one checkpoint'}", file=sys.stderr, flush=True)
    with project(models, {} if checkpoints else WITHOUT_CHECKPOINTS, real) as made:
        preview = made.seconds("preview")
        up = made.seconds("up", "--yes", "--skip-preview")
        count = len(made.resources())
        again = made.seconds("up", "--yes", "--skip-preview", "--expect-no-changes")
        destroy = made.seconds("destroy", "--yes", "--skip-preview")
        if left := made.resources():
            sys.exit(f"{len(left)} resources are left after destroy")
    return Times(models, checkpoints, count, preview, up, again, destroy)


@contextmanager
def project(models: int, more: Mapping[str, str], real: bool) -> Iterator[Project]:
    engine = ensure()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        root = Path(folder)
        for name in ("infra", "model_build"):
            (root / name).symlink_to(CHECKOUT / name)
        (root / ".venv").symlink_to(sys.prefix)
        for name in ("Pulumi.yaml", "Pulumi.local.yaml"):
            (root / name).write_bytes((CHECKOUT / name).read_bytes())
        for number in range(models):
            write_model(root, f"model-{number:03}")
        replica = () if real else ("--serving-command", f"{sys.executable} -S -E {CHECKOUT / 'bench/idle_replica.py'}")
        server = daemon.start(root / ".slipway/local", arguments=("--port", "0", *replica))
        try:
            kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
            environment = {**kept, **variables(root, engine), "AWS_ENDPOINT_URL": server.endpoint, **more}
            install(engine.pulumi, environment)
            made = Project(root, engine.pulumi, environment)
            made.run("stack", "init")
            yield made
        finally:
            daemon.stop(root / ".slipway/local")


def write_model(root: Path, name: str) -> None:
    """A spec, an artifact (as small as one can be) and a sealed manifest, as a build would have left them."""
    spec = root / "specs" / f"{name}.yaml"
    directory = root / "build" / name
    for path in (spec.parent, directory):
        path.mkdir(parents=True, exist_ok=True)
    spec.write_text(f"name: {name}\n")
    artifact = packed(name)
    (directory / "model.tar.gz").write_bytes(artifact)
    manifest = Manifest(
        name=name,
        task="tensor",
        inputs={f"specs/{name}.yaml": file_sha256(spec)},
        artifact=Artifact(sha256=hashlib.sha256(artifact).hexdigest(), bytes=len(artifact)),
        candidate="export_onnx",
        source=MEASURED,
        chosen=MEASURED,
        gates=(),
        deploy=Deploy.model_validate(DEPLOY),
    ).sealed()
    (directory / "manifest.json").write_text(manifest.to_json())


def packed(name: str) -> bytes:
    buffer, content = io.BytesIO(), name.encode()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("name.txt")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the models, and no bars")
    parser.add_argument("--real", action="store_true", help="endpoints run the real server")
    parser.add_argument("--models", type=int, help="how many, in place of the two numbers that the bars need")
    parser.add_argument("--one-way", action="store_true", help="without the runs that write a checkpoint a step")
    options = parser.parse_args()
    numbers = [options.models] if options.models else [FEW] if options.quick else [FEW, MANY]
    ways = [False] if options.one_way else [False, True]
    runs = [measure(models, checkpoints=way, real=options.real) for way in ways for models in numbers]
    rows = [
        (
            "a step" if times.checkpoints else "one",
            str(times.models),
            str(times.resources),
            *(f"{value:.1f}" for value in (times.preview, times.up, times.again, times.destroy)),
            f"{times.each:.0f}",
        )
        for times in runs
    ]
    shown = table(
        ["checkpoints", "models", "resources", "preview s", "up s", "no-op up s", "destroy s", "ms a resource"], rows
    )
    return tell("pulumi_scale", {"runs": [asdict(times) for times in runs]}, shown, bars(runs))


def bars(runs: list[Times]) -> list[Bar]:
    thrown_away = {times.models: times for times in runs if not times.checkpoints}
    if not {FEW, MANY} <= thrown_away.keys():
        return []
    few, many = thrown_away[FEW], thrown_away[MANY]
    return [
        Bar(f"seconds of a preview of {many.resources} resources", many.preview, 15),
        Bar("seconds of an up from nothing", many.up, 90),
        Bar("seconds of an up with nothing to do", many.again, 20),
        Bar(f"time a resource at {many.resources} resources to that at {few.resources}", many.each / few.each, 1.5),
    ]


if __name__ == "__main__":
    sys.exit(main())
