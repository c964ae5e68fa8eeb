"""Pruning the cache: what is removed, what stays, and that builds that run keep what they found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from processes import wait_for

from model_build import cache, pruning
from model_build.cache import Cache
from model_build.pruning import Entry
from slipway.cli import slipway

DAY = 86_400.0
FROM_HERE = os.environ | {"PYTHONPATH": str(Path(cache.__file__).parent.parent)}


def entry(name: str, size: int, days: float, published: bool = False) -> Entry:
    return Entry(Path(name), name, size, -days * DAY, published)


def names(found: list[Entry]) -> list[str]:
    return [one.what for one in found]


FOUND = [entry("new", 10, 1), entry("needed", 10, 20, published=True), entry("old", 10, 40), entry("older", 10, 50)]


def test_what_was_not_used_for_so_long_is_removed() -> None:
    assert names(pruning.removable(FOUND, 0, older_than=30 * DAY, all_of_it=False)) == ["old", "older"]
    assert names(pruning.removable(FOUND, 0, older_than=60 * DAY, all_of_it=False)) == []


def test_what_was_used_last_stays_up_to_a_size() -> None:
    assert names(pruning.removable(FOUND, 0, keep=30, all_of_it=False)) == ["older"]
    assert names(pruning.removable(FOUND, 0, keep=29, all_of_it=False)) == ["old", "older"]
    assert names(pruning.removable(FOUND, 0, keep=100, all_of_it=False)) == []


def test_what_a_published_model_needs_stays_unless_all_may_go() -> None:
    assert names(pruning.removable(FOUND, 0, keep=0, all_of_it=False)) == ["new", "old", "older"]
    assert names(pruning.removable(FOUND, 0, keep=0, all_of_it=True)) == ["new", "needed", "old", "older"]
    assert names(pruning.removable(FOUND, 0, keep=20, all_of_it=True)) == ["old", "older"]


def test_age_and_size_count_both() -> None:
    assert names(pruning.removable(FOUND, 0, older_than=45 * DAY, keep=20, all_of_it=False)) == ["old", "older"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose cache has three nodes, of which a report names the oldest, and an unfinished training."""
    (tmp_path / "Pulumi.yaml").write_text("name: p\n")
    for number, key in enumerate(("new", "old", "needed")):
        make(tmp_path, key, days=10 * number)
    left = tmp_path / "build/.cache/work/some/epoch-0001"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(bytes(500))
    age(left.parent, 90)
    published = tmp_path / "build" / "m"
    published.mkdir()
    report = {"candidates": [{"passes": [{"name": "export_onnx", "node": "needed"}]}]}
    (published / "report.json").write_text(json.dumps(report))
    return tmp_path


def make(root: Path, key: str, days: float = 0) -> None:
    def write(directory: Path) -> None:
        (directory / "model.onnx").write_bytes(bytes(1000))

    node = Cache(root / "build/.cache/nodes").obtain(key, write, {"model": "m", "step": f"export {key}"})
    age(node.directory, days)


def age(path: Path, days: float) -> None:
    before = time.time() - days * DAY
    os.utime(path, (before, before))


def kept(root: Path) -> set[str]:
    return {path.name for part in ("nodes", "work") for path in (root / "build/.cache" / part).iterdir()}


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(slipway, ["--root", str(root), "cache", *arguments], catch_exceptions=False)


def test_the_command_says_what_there_is(project: Path) -> None:
    said = run(project).output
    assert said.startswith("4 nodes, 0.0 MB; 1 node, 0.0 MB named by the reports of published models\n")
    assert "the oldest was used 90 d ago" in said


def test_pruning_by_age_removes_nodes_and_unfinished_trainings(project: Path) -> None:
    rehearsed = run(project, "prune", "--older-than", "5d", "--dry-run").output
    assert "m: export old" in rehearsed
    assert "an unfinished training" in rehearsed
    assert "m: export needed" not in rehearsed
    assert kept(project) == {"new", "old", "needed", "some"}
    assert run(project, "prune", "--older-than", "5d").output.startswith("✓ removed 2 nodes, ")
    assert kept(project) == {"new", "needed"}
    assert run(project, "prune", "--older-than", "5d").output.startswith("✓ removed 0 nodes, ")


def test_pruning_everything_leaves_an_empty_cache_that_builds_fill_again(project: Path) -> None:
    assert run(project, "prune", "--keep-gb", "0", "--all").exit_code == 0
    assert kept(project) == set()
    make(project, "new")
    assert kept(project) == {"new"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what may go: --older-than 30d, --keep-gb 5, or both"),
        (["--older-than", "30"], "'30' is no age such as 12h, 30d or 8w"),
        (["--keep-gb", "-1"], "is not in the range"),
    ],
)
def test_what_may_go_has_to_be_said_plainly(project: Path, arguments: list[str], message: str) -> None:
    done = run(project, "prune", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert kept(project) == {"new", "old", "needed", "some"}


def test_a_project_without_a_cache_has_nothing_to_prune(tmp_path: Path) -> None:
    assert run(tmp_path).output.startswith("0 nodes")
    assert run(tmp_path, "prune", "--older-than", "1d").output == "✓ removed 0 nodes, 0.0 MB; 0 nodes, 0.0 MB stay\n"


def test_a_node_that_is_found_counts_as_used(project: Path) -> None:
    assert Cache(project / "build/.cache/nodes").find("old")
    assert {one.what: one.used for one in pruning.entries(project)}["m: export old"] > time.time() - DAY


USE = """
import pathlib, sys
from model_build.cache import Cache
nodes = Cache(pathlib.Path("build/.cache/nodes"))
node = nodes.find("old")
print("found", flush=True)
sys.stdin.read()
print((node.directory / "model.onnx").stat().st_size, flush=True)
"""


def test_what_a_running_build_found_is_not_removed_before_it_ends(project: Path) -> None:
    build = subprocess.Popen(
        [sys.executable, "-c", USE],
        cwd=project,
        env=FROM_HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert build.stdout is not None
    assert build.stdout.readline() == "found\n"
    command = [sys.executable, "-m", "slipway", "--root", str(project), "cache", "prune", "--keep-gb", "0"]
    with (project / "said").open("w") as said:
        prune = subprocess.Popen(command, env=FROM_HERE, stdout=said, stderr=said)
    try:
        wait_for(lambda: "waiting for it" in (project / "said").read_text(), "prune waits")
        assert kept(project) == {"new", "old", "needed", "some"}
        out, _ = build.communicate()  # ends its input
        assert out == "1000\n"
        assert prune.wait(60) == 0
        assert kept(project) == {"needed"}
    finally:
        for process in (build, prune):
            process.kill()
            process.wait()
