"""The command line as a process: what it prints, how it exits, and what it does not import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from slipway import cli

ROOT = Path(__file__).parents[2]
SPECS = Path(__file__).parent / "specs"
GOOD = [path.stem for path in sorted((SPECS / "good").iterdir())]
HEAVY = {"torch", "onnx", "onnxruntime", "transformers", "pulumi", "pulumi_aws", "moto", "boto3", "numpy", "rich"}


def slipway(
    *arguments: str, cwd: Path, code: str = "from slipway.cli import main; main()"
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"} | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, env=environment, text=True, capture_output=True, timeout=60
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(SPECS / "good", tmp_path / "specs")
    for name in ("files", "classifier"):
        shutil.copytree(SPECS / name, tmp_path / name)
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    return tmp_path


def test_good_specs_are_listed_and_exit_0_from_any_folder_of_the_project(project: Path) -> None:
    done = slipway("check", cwd=project / "files")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"✓ {len(GOOD)} specs: {', '.join(GOOD)}\n"


def test_problems_go_to_standard_error_with_a_count_and_exit_1(project: Path) -> None:
    for name in ("several", "labels"):
        shutil.copy(SPECS / "bad" / f"{name}.yaml", project / "specs")
    done = slipway("check", cwd=project)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert lines[0] == "specs/labels.yaml:3: labels: image-classification needs the names of at least 2 classes"
    assert lines[-1] == "✗ 8 problems in 2 specs"
    assert len(lines) == 9
    assert "\x1b" not in done.stderr and "Traceback" not in done.stderr


def test_only_the_named_spec_is_checked(project: Path) -> None:
    shutil.copy(SPECS / "bad" / "labels.yaml", project / "specs")
    assert slipway("check", "image", "specs/text.yaml", cwd=project).stdout == "✓ 2 specs: image, text\n"


def test_an_unknown_spec_is_one_message_with_the_next_step(project: Path) -> None:
    done = slipway("check", "imag", cwd=project)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "slipway: there is no spec 'imag'; did you mean 'image'?",
        f"  next: there are {', '.join(GOOD)}",
    ]


def test_checking_imports_nothing_heavy_and_nothing_of_the_project(project: Path) -> None:
    code = (
        "import sys\n"
        "from slipway import cli\n"
        "code = cli.run(['check'])\n"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = slipway(cwd=project, code=code)
    code_line = done.stdout.splitlines()[-1].split()
    assert code_line[0] == "0"
    assert HEAVY.isdisjoint(code_line[1:])
    assert "files" not in code_line and "examples" not in code_line


def test_the_shipped_specs_are_good() -> None:
    done = slipway("check", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_build_of_bad_specs_says_all_that_check_says_and_builds_nothing(project: Path) -> None:
    shutil.copy(SPECS / "bad" / "labels.yaml", project / "specs")
    done = slipway("build", cwd=project)
    assert done.returncode == 1
    assert "specs/labels.yaml:3: labels: image-classification needs the names of at least 2 classes" in done.stderr
    assert not (project / "build" / "image").exists()


def test_outside_a_project_the_root_is_asked_for(tmp_path: Path) -> None:
    done = slipway("check", cwd=tmp_path)
    assert done.returncode == 1
    assert "no folder above holds a Pulumi.yaml" in done.stderr and "--root" in done.stderr


def test_help_is_given_outside_of_a_project_and_lists_every_command(tmp_path: Path) -> None:
    listed = slipway("--help", cwd=tmp_path)
    assert listed.returncode == 0
    assert all(f"  {name} " in listed.stdout for name in cli.COMMANDS)
    assert "slipway check fashion" in slipway("check", "--help", cwd=tmp_path).stdout


def test_every_listed_command_can_be_loaded() -> None:
    context = click.Context(cli.slipway)
    for name in cli.COMMANDS:
        command = cli.slipway.get_command(context, name)
        assert command is not None and command.help, name


def test_an_unknown_command_is_refused_with_a_suggestion(project: Path) -> None:
    done = slipway("chek", cwd=project)
    assert done.returncode == 1
    assert "No such command 'chek'. Did you mean 'check'?" in done.stderr


def test_a_fault_of_ours_exits_3_with_its_traceback_in_a_log(project: Path) -> None:
    code = (
        "from slipway import cli\n"
        "import slipway.commands.check as check\n"
        "def broken(*_): raise ZeroDivisionError('a bug')\n"
        "check.load_all = broken\n"
        "cli.main()"
    )
    done = slipway("check", cwd=project, code=code)
    assert done.returncode == 3
    assert "a fault of Slipway's own" in done.stderr and "Traceback" not in done.stderr
    (log,) = (project / ".slipway").glob("fault-*.log")
    assert str(log) in done.stderr
    assert "ZeroDivisionError: a bug" in log.read_text() and "Traceback" in log.read_text()


def test_an_interrupt_exits_130(project: Path) -> None:
    code = (
        "from slipway import cli\n"
        "import slipway.commands.check as check\n"
        "def interrupted(*_): raise KeyboardInterrupt\n"
        "check.load_all = interrupted\n"
        "cli.main()"
    )
    done = slipway("check", cwd=project, code=code)
    assert (done.returncode, done.stderr.strip()) == (130, "slipway: interrupted")


def test_a_reader_that_goes_away_is_not_complained_of(project: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from slipway.cli import main; main()", "check"],
            cwd=project, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=write, stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_schema_is_written_then_current_then_out_of_date(project: Path) -> None:
    assert slipway("schema", "--check", cwd=project).returncode == 1
    assert slipway("schema", cwd=project).stdout == "✓ wrote specs/spec.schema.json\n"
    assert slipway("schema", "--check", cwd=project).stdout == "✓ schema and docs are up to date\n"
    (project / "specs" / "spec.schema.json").write_text("{}")
    stale = slipway("schema", "--check", cwd=project)
    assert stale.returncode == 1
    assert stale.stderr.splitlines() == [
        "slipway: out of date against the code: specs/spec.schema.json",
        "  next: run: slipway schema",
    ]
