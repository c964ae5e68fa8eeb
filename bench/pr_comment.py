"""How long a pull request waits for its comment: python -m bench.pr_comment

A repository of its own with one small model (fashion), its base branch built, the caches warm and the stack deployed in
the local cloud. Then a candidate is edited, and the scaling alone; each time `slipway pr-comment` runs as in CI, with
preview and policies. Bars: 90 s from the edited spec, and 15 s for scaling alone, of which no node is built.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from bench.outcome import Bar, table, tell

ROOT = Path(__file__).parents[1]
COPIED = ("examples/fashion", "examples/__init__.py", "examples/training.py", "infra", "model_build", "serving")
EDITED, SCALED = "a candidate is edited", "scaling alone is edited"


class Repository:
    """A checkout with the model `fashion`, and an environment `dev` in a local cloud of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "specs").mkdir(parents=True)
        for name in COPIED:
            source, target = ROOT / name, root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
        for name in ("Pulumi.yaml", "specs/fashion.yaml"):
            shutil.copy2(ROOT / name, root / name)
        config = {
            "pulumi:disable-default-providers": ["aws"],
            "slipway:region": "us-east-1",
            "slipway:cloud": "local",
        }
        (root / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}), encoding="utf-8")
        (root / ".gitignore").write_text(".venv\n.slipway/\nbuild/\n__pycache__/\n", encoding="utf-8")
        (root / ".venv").symlink_to(sys.prefix)
        self.run("git", "init", "--quiet", "--initial-branch", "main")
        self.commit("the model")

    @property
    def spec(self) -> Path:
        return self.root / "specs" / "fashion.yaml"

    def run(self, *command: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_", "GIT_"))}
        done = subprocess.run(
            command, cwd=self.root, env=kept, text=True, stdin=subprocess.DEVNULL, capture_output=True
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def slipway(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "slipway", *arguments)

    def commit(self, subject: str) -> None:
        self.run("git", "add", "--all")
        self.run(
            "git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "--quiet", "-m", subject
        )

    def nodes(self) -> set[str]:
        return {path.name for path in (self.root / "build" / ".cache" / "nodes").iterdir()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def another_candidate(text: str, number: int) -> str:
    """A count of calibration samples that no earlier build had: the best candidate and its measurement are new."""
    return text.replace(
        "quantize_static: {per_channel: false}", f"quantize_static: {{per_channel: false, samples: {300 + number}}}"
    )


def another_scaling(text: str, number: int) -> str:
    return text.replace(
        "instances: {min: 1, max: 2}\n  autoscaling", f"instances: {{min: 1, max: {3 + number}}}\n  autoscaling"
    )


def timed(repository: Repository, edit: Callable[[str, int], str], number: int) -> tuple[float, int, str]:
    """Seconds from the edited spec to the comment, the count of nodes that were made, and the comment."""
    original = repository.spec.read_text(encoding="utf-8")
    edited = edit(original, number)
    if edited == original:
        raise SystemExit("specs/fashion.yaml has no such line any more: mend bench/pr_comment.py")
    repository.spec.write_text(edited, encoding="utf-8")
    repository.run("git", "checkout", "--quiet", "-b", f"change-{time.monotonic_ns()}")
    repository.commit("a change")
    before = repository.nodes()
    started = time.monotonic()
    comment = repository.slipway("pr-comment", "--base", "main", "--env", "dev")
    took = time.monotonic() - started
    made = len(repository.nodes() - before)
    repository.run("git", "checkout", "--quiet", "main")
    return took, made, comment


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="each change once instead of three times")
    repeats = 1 if parser.parse_args().quick else 3
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        repository = Repository(Path(folder) / "repository")
        repository.slipway("local", "start", "--port", str(_free_port()))
        try:
            repository.slipway("build")
            repository.slipway("deploy", "--env", "dev")
            repository.slipway("pr-comment", "--base", "main", "--env", "dev")  # the base branch's, as CI has it
            found = {
                what: [timed(repository, edit, number) for number in range(repeats)]
                for what, edit in ((EDITED, another_candidate), (SCALED, another_scaling))
            }
        finally:
            repository.slipway("local", "stop")
    for what, runs in found.items():
        for _, made, comment in runs:
            if "`fashion`" not in comment or (what == EDITED) != (made > 0):
                raise SystemExit(
                    f"{what}: {made} nodes were made, and the comment is not what it should be:\n{comment}"
                )
    rows = [
        (
            what,
            f"{statistics.median(run[0] for run in runs):.1f} s",
            f"{max(run[0] for run in runs):.1f} s",
            str(runs[0][1]),
        )
        for what, runs in found.items()
    ]
    figures = {what: [{"seconds": run[0], "nodes": run[1]} for run in runs] for what, runs in found.items()}
    bars = [
        Bar(f"seconds to the comment, {what}", max(run[0] for run in found[what]), limit)
        for what, limit in ((EDITED, 90), (SCALED, 15))
    ]
    bars.append(Bar("nodes built, scaling alone", max(run[1] for run in found[SCALED]), 0))
    shown = table(("change", "median", "worst", "nodes built"), rows)
    return tell("pr_comment", json.loads(json.dumps(figures)), shown, bars)


if __name__ == "__main__":
    sys.exit(main())
