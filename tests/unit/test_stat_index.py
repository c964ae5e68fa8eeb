"""The stat index: every change shows, and nothing is imported where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from model_build import stat_index
from model_build.spec import Spec
from model_build.stat_index import Environment, Index
from model_build.watched import watched

AROUND = Environment("some", newest=0)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for file in ("specs/m.yaml", "code/model.py", "code/inner/data.bin", "build/m/model.tar.gz"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("content")
    time.sleep(0.03)  # until a change must show
    record(tmp_path)
    return tmp_path


def record(root: Path, around: Environment = AROUND) -> None:
    inputs = stat_index.take(
        str(root), ["specs/m.yaml", "code/model.py", "code/inner/data.bin"], ["code", "code/inner"]
    )
    outputs = stat_index.take(str(root), ["build/m/model.tar.gz"], ())
    stat_index.write(str(root), "m", around, inputs, outputs, {"name": "m"})


def outcome(root: Path, around: Environment = AROUND) -> object:
    return Index(str(root), around).outcome("m", "specs/m.yaml")


def test_where_nothing_changed_the_last_outcome_is_found(project: Path) -> None:
    assert outcome(project) == {"name": "m"}
    assert Index(str(project), AROUND).outcome("other", "specs/other.yaml") is None
    assert Index(str(project), AROUND).outcome("m", "elsewhere/m.yaml") is None  # another spec of that name


def rewrite_keeping_size_and_time(root: Path) -> None:
    path = root / "code" / "model.py"
    before = path.stat()
    path.write_text("CONTENT")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_another_file(root: Path) -> None:
    (root / "new").write_text("content")
    before = (root / "code" / "model.py").stat()
    os.utime(root / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (root / "new").rename(root / "code" / "model.py")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "specs" / "m.yaml").write_text("other"),
        lambda root: (root / "code" / "inner" / "data.bin").unlink(),
        lambda root: (root / "code" / "inner" / "more.bin").write_text(""),
        lambda root: (root / "build" / "m" / "model.tar.gz").write_text("CONTENT"),
        rewrite_keeping_size_and_time,
        replace_by_another_file,
        lambda root: (root / stat_index.FOLDER / "m.json").write_text("{"),
        lambda root: (root / stat_index.FOLDER / "m.json").write_text("[]"),
        lambda root: (root / stat_index.FOLDER / "m.json").unlink(),
    ],
    ids=[
        "spec",
        "lost input",
        "new input",
        "output",
        "same size and time",
        "another file",
        "broken",
        "other kind",
        "lost",
    ],
)
def test_every_change_shows(project: Path, change: Callable[[Path], object]) -> None:
    change(project)
    assert outcome(project) is None


@pytest.mark.parametrize("name", ["__pycache__/model.cpython-311.pyc", ".hidden", "build/x", "old.pyc"])
def test_what_no_key_depends_on_does_not_count(project: Path, name: str) -> None:
    (project / "code" / name).parent.mkdir(exist_ok=True)
    (project / "code" / name).write_text("")
    assert outcome(project) == {"name": "m"}


def test_another_environment_is_another_build(project: Path) -> None:
    assert outcome(project, Environment("other", newest=0)) is None


def test_what_changed_just_before_it_was_looked_at_is_not_trusted(project: Path) -> None:
    (project / "code" / "model.py").write_text("again")
    record(project)
    assert outcome(project) is None
    time.sleep(0.03)
    record(project)
    assert outcome(project) == {"name": "m"}


def test_code_of_ours_that_changed_just_now_is_not_trusted_either(project: Path) -> None:
    record(project, Environment("some", newest=time.time_ns()))
    assert outcome(project) is None


def test_the_environment_changes_with_what_is_installed(tmp_path: Path) -> None:
    path = (*sys.path, str(tmp_path))
    (tmp_path / "thing-1.0.dist-info").mkdir()
    before = stat_index.environment(path).digest
    (tmp_path / "a file of another kind.data").write_text("")
    assert stat_index.environment(path).digest == before
    (tmp_path / "thing-1.0.dist-info").rename(tmp_path / "thing-1.1.dist-info")
    assert stat_index.environment(path).digest != before


def test_what_is_watched_is_every_input_and_where_others_could_turn_up(tmp_path: Path) -> None:
    for file in ("specs/m.yaml", "zoo/nets/small.py", "zoo/nets/deep/table.bin", "weights/w.safetensors", "s.json"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    (tmp_path / "zoo" / "nets" / "empty").mkdir()
    spec = Spec.model_validate(
        {
            "name": "m",
            "task": "tensor",
            "tensor": {"inputs": {"x": {"shape": [3]}}},
            "source": {"pytorch": {"factory": "zoo.nets.small:build", "weights": "weights/w.safetensors"}},
            "sample": "s.json",
        }
    )
    files, folders = watched(spec, tmp_path)
    assert files == ["s.json", "specs/m.yaml", "weights/w.safetensors", "zoo/nets/deep/table.bin", "zoo/nets/small.py"]
    assert folders == [".", "weights", "zoo", "zoo/nets", "zoo/nets/deep", "zoo/nets/empty"]


NOTHING_HEAVY = """
import sys
from slipway import fastpath
code = fastpath.run(["build"])
heavy = {"click", "pydantic", "yaml", "pathlib", "numpy"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def test_the_command_line_answers_a_no_op_and_imports_next_to_nothing(project: Path) -> None:
    (project / "Pulumi.yaml").write_text("name: p\n")
    measured = {"score": 1.0, "metric": "accuracy", "latency_p95_ms": 2.0, "size_mb": 3.0}
    summary = {"name": "m", "candidate": "export_onnx", "directory": "build/m", "source": measured, "chosen": measured}
    write = (
        "import time; from model_build import stat_index; time.sleep(0.03); "
        "seen = stat_index.take('.', ['specs/m.yaml'], ()); "
        f"stat_index.write('.', 'm', stat_index.environment(), seen, seen, {summary!r})"
    )
    environment = os.environ | {"PYTHONPATH": stat_index.SLIPWAY}
    assert subprocess.run([sys.executable, "-c", write], cwd=project, env=environment).returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", NOTHING_HEAVY], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout
        == "m: export_onnx · accuracy 1.0000 → 1.0000 · p95 2.00 → 2.00 ms · 3.0 → 3.0 MB · build/m/report.md\n"
    )
    assert done.stderr == "✓ up to date: m\n"


@pytest.mark.parametrize(
    "arguments", [[], ["check"], ["build", "--help"], ["build", "specs/m.yaml"], ["build", "unknown"], ["build", "m"]]
)
def test_what_it_does_not_know_for_certain_it_leaves_to_the_long_way(
    project: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    from slipway import fastpath

    monkeypatch.chdir(project)  # holds no Pulumi.yaml
    assert fastpath.run(arguments) is None
    (project / "Pulumi.yaml").write_text("name: p\n")
    assert fastpath.run(arguments) is None  # recorded in another environment
