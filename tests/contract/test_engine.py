"""The engine that `ensure` gives really runs Python programs and policy packs, with whichever language host it has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import alive

from toolchain.engine import Engine

pytestmark = pytest.mark.contract

PROGRAM = """
    import os
    import pulumi
    from naming import NAME  # a module of the program's own folder

    class Thing(pulumi.ComponentResource):
        def __init__(self, name, size):
            super().__init__("tiny:index:Thing", name, {"size": size})
            self.register_outputs({"size": size})

    Thing(NAME, 3)
    print("hello from", os.path.basename(os.getcwd()))
    pulumi.export("greeting", pulumi.Config().require("greeting"))
    pulumi.export("secret", pulumi.Config().require_secret("password"))
    pulumi.export("root", pulumi.get_root_directory())
"""

POLICY = """
    from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

    def small(args, report_violation):
        if args.resource_type == "tiny:index:Thing" and args.props["size"] > 2:
            report_violation(f"a thing of size {args.props['size']:.0f} is too big")

    PolicyPack("tiny-rules", enforcement_level=EnforcementLevel.MANDATORY, policies=[
        ResourceValidationPolicy("small-things", "Things are small.", small),
    ])
"""

# Tells its process and waits, so that a test can interrupt what runs.
WAITING = """
    import os, pathlib, time, pulumi
    mark = pathlib.Path(pulumi.get_root_directory(), "started")
    mark.with_suffix(".new").write_text(str(os.getpid()))
    mark.with_suffix(".new").rename(mark)
    time.sleep(120)
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


class Project:
    """A Pulumi project in a folder with a space in its name, on a stack `test` of its own."""

    def __init__(self, root: Path, engine: Engine, environment: dict[str, str]) -> None:
        self.root = root
        self.engine = engine
        self.environment = environment
        write(root / "Pulumi.yaml", "name: tiny\nruntime: python\nmain: program\n")
        write(root / "program/naming.py", "NAME = 'one'\n")
        self.program(PROGRAM)
        self.require("stack", "init", "test")
        self.require("config", "set", "greeting", "hello")
        self.require("config", "set", "--secret", "password", "hush")

    def program(self, text: str) -> None:
        write(self.root / "program/__main__.py", text)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.engine.pulumi), *arguments, "--non-interactive", "--color", "never"],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        with self.start(*arguments) as process:
            output, _ = process.communicate()
        return process.returncode, output

    def require(self, *arguments: str) -> str:
        code, output = self.run(*arguments)
        assert code == 0, output
        return output


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> Project:
    from toolchain.environment import variables

    root = tmp_path / "a project"
    root.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
    return Project(root, engine, kept | variables(root, engine))


@pytest.fixture
def waiting(project: Project) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`pulumi up` in the middle of a program: the engine's process and the program's."""
    project.program(WAITING)
    with project.start("up", "--yes", "--skip-preview") as process:
        try:
            mark = project.root / "started"
            until(lambda: mark.is_file() or process.poll() is not None)
            assert mark.is_file(), process.communicate()[0]
            yield process, int(mark.read_text())
        finally:
            if process.poll() is None:
                process.kill()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_a_program_comes_up_stays_unchanged_and_is_destroyed(project: Project) -> None:
    preview = project.require("preview")
    assert "+ 2 to create" in preview

    first = project.require("up", "--yes")
    assert "+ 2 created" in first
    assert "hello from program" in first
    assert "warning" not in first

    outputs = json.loads(project.require("stack", "output", "--json"))
    assert outputs == {"greeting": "hello", "secret": "[secret]", "root": str(project.root)}
    assert (project.root / ".slipway/state/.pulumi/stacks/tiny/test.json").is_file()

    assert "2 unchanged" in project.require("up", "--yes", "--expect-no-changes")
    assert "- 2 deleted" in project.require("destroy", "--yes")


def test_a_changed_program_shows_its_difference(project: Project) -> None:
    project.require("up", "--yes", "--skip-preview")
    write(project.root / "program/naming.py", "NAME = 'two'\n")
    preview = project.require("preview")
    assert "+ 1 to create" in preview
    assert "- 1 to delete" in preview


def test_an_error_in_a_program_is_shown_from_its_own_first_line(project: Project) -> None:
    project.program("import pulumi\n\ndef fail():\n    raise ValueError('no such luck')\n\nfail()\n")
    code, output = project.run("up", "--yes")
    assert code != 0
    assert "ValueError: no such luck" in output
    assert "__main__.py" in output
    assert "line 4, in fail" in output
    assert "runpy" not in output, "frames of the host are no help to the program's author"


def test_a_run_error_is_shown_by_its_message_alone(project: Project) -> None:
    project.program("import pulumi\nraise pulumi.RunError('build the models first')\n")
    code, output = project.run("up", "--yes")
    assert code != 0
    assert "error: build the models first" in output
    assert "Traceback" not in output


def test_a_program_that_exits_by_itself_fails_the_update(project: Project) -> None:
    project.program("import sys\nsys.exit('had enough')\n")
    code, output = project.run("up", "--yes")
    assert code != 0
    assert "had enough" in output


def test_a_missing_program_is_named(project: Project) -> None:
    (project.root / "program/__main__.py").unlink()
    code, output = project.run("up", "--yes")
    assert code != 0
    assert "__main__.py" in output


def test_a_virtualenv_that_is_not_there_is_named(project: Project) -> None:
    write(
        project.root / "Pulumi.yaml",
        "name: tiny\nruntime: {name: python, options: {virtualenv: nowhere}}\nmain: program\n",
    )
    code, output = project.run("up", "--yes")
    assert code != 0
    assert "nowhere" in output


def test_a_program_runs_in_the_virtualenv_that_is_named(project: Project) -> None:
    # Its Python is a symbolic link into the one of the tests: made without installing anything.
    environment = project.root / "own"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    found = next(environment.glob("lib/python3*/site-packages"))
    (found / "tests.pth").write_text(packages + "\n")
    write(
        project.root / "Pulumi.yaml",
        "name: tiny\nruntime: {name: python, options: {virtualenv: own}}\nmain: program\n",
    )
    project.program("import sys, pulumi\npulumi.export('prefix', sys.prefix)\n")
    project.require("up", "--yes", "--skip-preview")
    assert project.require("stack", "output", "prefix").strip() == str(environment)


def test_a_policy_pack_stops_an_update_before_anything_is_made(project: Project) -> None:
    pack = project.root / "rules"
    write(pack / "PulumiPolicy.yaml", "runtime: python\nversion: 0.0.1\n")
    write(pack / "__main__.py", POLICY)

    code, output = project.run("up", "--yes", "--skip-preview", "--policy-pack", str(pack))
    assert code != 0
    assert "a thing of size 3 is too big" in output
    state = json.loads(project.require("stack", "export"))
    made = {resource["type"] for resource in state["deployment"].get("resources", [])}
    assert "tiny:index:Thing" not in made

    write(pack / "__main__.py", POLICY.replace("> 2", "> 3"))
    assert "+ 1 created" in project.require("up", "--yes", "--policy-pack", str(pack))


def test_a_policy_pack_that_cannot_start_says_why(project: Project) -> None:
    pack = project.root / "rules"
    write(pack / "PulumiPolicy.yaml", "runtime: python\nversion: 0.0.1\n")
    write(pack / "__main__.py", "raise ValueError('no rules today')\n")
    code, output = project.run("preview", "--policy-pack", str(pack))
    assert code != 0
    assert "no rules today" in output


def test_a_dynamic_provider_creates_and_deletes(project: Project) -> None:
    project.program("""
        import pathlib, pulumi
        from pulumi import dynamic

        class Files(dynamic.ResourceProvider):
            def create(self, props):
                pathlib.Path(props["path"]).write_text("made")
                return dynamic.CreateResult(props["path"], props)
            def delete(self, id, props):
                pathlib.Path(id).unlink()

        class File(dynamic.Resource):
            def __init__(self, name, path):
                super().__init__(Files(), name, {"path": path})

        File("file", str(pathlib.Path(pulumi.get_root_directory(), "made.txt")))
    """)
    project.require("up", "--yes", "--skip-preview")
    assert (project.root / "made.txt").read_text() == "made"
    project.require("destroy", "--yes", "--skip-preview")
    assert not (project.root / "made.txt").exists()


def test_about_names_the_python_and_its_packages(project: Project) -> None:
    about = json.loads(project.require("about", "--json"))
    assert about["runtime"]["language"] == "python"
    assert about["runtime"]["version"] == sys.version.split()[0]
    assert "pytest-timeout" in {package["name"] for package in about["dependencies"]}


def test_an_interrupt_ends_an_update_quietly(waiting: tuple[subprocess.Popen[str], int]) -> None:
    process, program = waiting
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in output
    assert "KeyboardInterrupt" not in output
    until(lambda: not alive(program))


def test_a_killed_engine_leaves_no_program_running(waiting: tuple[subprocess.Popen[str], int]) -> None:
    process, program = waiting
    process.kill()
    until(lambda: not alive(program))
