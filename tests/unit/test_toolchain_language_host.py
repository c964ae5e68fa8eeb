"""Parts of the language host that need no engine: the choice of a Python, children, packages, waiting for outputs."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain.language_host import dependencies, interpreter, program
from toolchain.language_host.processes import Processes


@pytest.fixture
def virtualenv(tmp_path: Path) -> Path:
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return tmp_path / ".venv"


def test_a_named_virtualenv_is_used_and_activated(virtualenv: Path) -> None:
    chosen = interpreter.choose({"virtualenv": ".venv"}, virtualenv.parent)
    assert chosen.executable == virtualenv / "bin/python"
    environment = chosen.environment({"PATH": "/bin", "PYTHONHOME": "/elsewhere"})
    assert environment == {"PATH": f"{virtualenv}/bin{os.pathsep}/bin", "VIRTUAL_ENV": str(virtualenv)}


def test_the_uv_toolchain_means_the_dot_venv(virtualenv: Path) -> None:
    assert interpreter.choose({"toolchain": "uv"}, virtualenv.parent).virtualenv == virtualenv


def test_a_virtualenv_that_is_none_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(interpreter.InterpreterError, match=r"virtualenv: env is no virtual.*python3 -m venv"):
        interpreter.choose({"virtualenv": "env"}, tmp_path)


def test_a_toolchain_that_is_not_served_is_named(tmp_path: Path) -> None:
    with pytest.raises(interpreter.InterpreterError, match=r"poetry needs the official Pulumi"):
        interpreter.choose({"toolchain": "poetry"}, tmp_path)


def test_without_options_the_python_of_the_variable_runs_or_else_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PULUMI_PYTHON_CMD", raising=False)
    assert interpreter.choose({}, tmp_path) == interpreter.Interpreter(Path(sys.executable), None)
    monkeypatch.setenv("PULUMI_PYTHON_CMD", "/bin/sh")
    assert interpreter.choose({}, tmp_path).executable == Path("/bin/sh")
    monkeypatch.setenv("PULUMI_PYTHON_CMD", "no-such-python")
    with pytest.raises(interpreter.InterpreterError, match="no-such-python"):
        interpreter.choose({}, tmp_path)


def test_a_childs_streams_come_apart_and_whole() -> None:
    processes = Processes()
    script = "import sys; sys.stdout.write('x' * 200_000); sys.stderr.write('oops'); sys.exit(3)"
    child = processes.start([sys.executable, "-c", script], ".", os.environ, piped=True)
    received = {"stdout": b"", "stderr": b""}
    for name, chunk in processes.stream(child):
        received[name] += chunk
    assert received == {"stdout": b"x" * 200_000, "stderr": b"oops"}
    assert processes.wait(child) == 3


def test_children_that_do_not_listen_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolchain.language_host.processes.STOP_SECONDS", 0.2)
    processes = Processes()
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    child = processes.start(["/bin/sh", "-c", script], ".", os.environ, piped=True)
    written = processes.stream(child)
    assert next(written) == ("stdout", b"ready\n")
    processes.end()
    assert processes.wait(child) < 0
    assert list(written) == []


def test_packages_that_others_require_are_told_apart() -> None:
    everything, named = (dict(dependencies.packages(transitive)) for transitive in (True, False))
    assert everything["pluggy"]
    assert "pluggy" not in named, "pytest requires it"
    assert named.items() <= everything.items()


def test_packages_are_listed_by_a_python_that_holds_nothing_of_ours() -> None:
    script = Path(dependencies.__file__)
    done = subprocess.run([sys.executable, "-I", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[[")


def test_waiting_for_the_first_output_waits_for_all_of_them_or_for_the_first_that_fails() -> None:
    patient = program._Patient()

    async def fail() -> None:
        raise ValueError("no such luck")

    async def several() -> tuple[int, int]:
        quick = {asyncio.ensure_future(asyncio.sleep(0)) for _ in range(5)}
        done, _ = await patient.wait(quick, return_when=asyncio.FIRST_COMPLETED)
        never = asyncio.ensure_future(asyncio.Event().wait())
        failed, left = await patient.wait({never, asyncio.ensure_future(fail())}, return_when=asyncio.FIRST_COMPLETED)
        assert left == {never}
        never.cancel()
        return len(done), sum(isinstance(task.exception(), ValueError) for task in failed)

    assert asyncio.run(several()) == (5, 1)
    assert patient.sleep is asyncio.sleep


def test_the_sdks_loop_still_is_the_one_that_is_given_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    import pulumi.runtime.stack as stack

    monkeypatch.setattr(stack, "asyncio", asyncio)
    assert "asyncio.FIRST_COMPLETED" in inspect.getsource(stack.wait_for_rpcs)
    program._wait_in_linear_time()
    assert isinstance(stack.wait_for_rpcs.__globals__["asyncio"], program._Patient)
