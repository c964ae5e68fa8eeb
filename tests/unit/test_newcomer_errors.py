"""What can go wrong between a clone and a first prediction: each time one message, which tells the next step.

No engine and no network is in test_toolchain_engine.py, a full disk in a build in tests/contract/test_build_engine.py.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from localcloud.errors import LocalCloudError
from localcloud.server import bind
from model_build.errors import UserError
from slipway import cli
from slipway.invoke import predict

ROOT = Path(__file__).parents[2]

# Stands in for Python in `make`: what its `-c`, `-m venv DIR` and `-m pip` are to answer.
PYTHON = """\
#!/bin/sh
case "$1 $2" in
  "--version ") echo "Python $VERSION" ;;
  "-m venv") [ -z "$NO_VENV" ] || { echo "ensurepip is not available" >&2; exit 1; }
             mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") [ -z "$PIP_SAYS" ] || { echo "$PIP_SAYS" >&2; exit 1; }
            printf '#!/bin/sh\\n[ -z "$UV_SAYS" ] || { echo "$UV_SAYS" >&2; exit 2; }\\n' > .venv/bin/uv
            chmod +x .venv/bin/uv ;;
  -c*) [ "$VERSION" != 3.10.1 ] ;;
esac
"""


@pytest.mark.parametrize(
    ("machine", "said", "next_step"),
    [
        ({"VERSION": "3.10.1"}, "3.11 or newer is needed; ./python is Python 3.10.1", "make PYTHON=python3.12 up"),
        ({"NO_VENV": "1"}, "python -m venv failed", "apt-get install python3-venv"),
        ({"PIP_SAYS": "Temporary failure in name resolution"}, "failure in name resolution", "HTTPS_PROXY"),
        ({"UV_SAYS": "No space left on device (os error 28)"}, "No space left on device", "space on the disk (10 GB)"),
    ],
    ids=["old Python", "no venv", "no network", "disk full"],
)  # fmt: skip
def test_make_says_what_the_machine_lacks(tmp_path: Path, machine: dict[str, str], said: str, next_step: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "PYTHON=./python", "up"],
        cwd=tmp_path,
        env=own | {"VERSION": "3.11.7"} | machine,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert said in done.stderr and next_step in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    # What is half there is told apart from what is done: the next run begins it anew.
    assert not (tmp_path / ".venv/.ready-default").exists()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "specs").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    (tmp_path / "specs/fashion.yaml").write_text("name: fashion\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said", "next_step"),
    [
        (["biuld"], "No such command 'biuld'", "Did you mean 'build'?"),
        (["build", "fashon"], "there is no spec 'fashon'", "did you mean 'fashion'?"),
        (["check", "fashon"], "there is no spec 'fashon'", "did you mean 'fashion'?"),
        (["migrate", "fashon"], "there is no spec 'fashon'", "did you mean 'fashion'?"),
        (["invoke", "fashon"], "there is no spec 'fashon'", "did you mean 'fashion'?"),
        (["invoke", "fashion"], "nothing was built", "run: slipway build fashion"),
        (["invoke", "fashion", "--text", "x"], "the local AWS is not running", "slipway local start (or make up)"),
        (["invoke", "fashion", "no.png"], "no.png: there is no such file", "use --text"),
        (["local", "status"], "not running", "slipway local start"),
        (["init", "My Model", "--task", "tensor"], "'My Model' is no name of a model", "my-model"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_says_what_to_do_instead(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str, next_step: str
) -> None:
    assert cli.run(["--root", str(project), *arguments]) == 1
    out, err = capsys.readouterr()
    assert said in out + err and next_step in out + err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["up"], ["build", "fashion"], ["invoke", "fashion"]], ids=" ".join)
def test_outside_of_the_project_the_folder_is_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 1
    err = capsys.readouterr().err
    assert f"{tmp_path} is not inside a Slipway project" in err
    assert "next: change to the project's folder, or give --root DIR" in err


def test_an_endpoint_that_is_not_there_is_to_be_deployed() -> None:
    class Runtime:
        def invoke_endpoint(self, **_: object) -> object:
            error = {"Error": {"Code": "ValidationError", "Message": "Endpoint fashion-local not found."}}
            raise ClientError(error, "InvokeEndpoint")  # type: ignore[arg-type]

    with pytest.raises(UserError) as caught:
        predict(Runtime(), "fashion-local", b"{}", "application/json")
    assert "Endpoint fashion-local not found" in caught.value.message
    assert "slipway up" in caught.value.next_step


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


def test_a_port_that_is_taken_is_named_with_the_way_out(taken: int) -> None:
    with pytest.raises(LocalCloudError, match=rf"port {taken} is taken .* choose another with --port"):
        bind(taken)


def test_the_default_port_gives_way_to_another(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localcloud.server.DEFAULT_PORT", taken)
    with bind(None) as listener:
        assert listener.getsockname()[1] != taken


def test_the_page_names_what_make_and_the_commands_say() -> None:
    """The table of errors in getting-started.md quotes programs, so each of its quotes is in one of them."""
    page = (ROOT / "docs/getting-started.md").read_text("utf-8").partition("## If something stops you")[2]
    quotes = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    assert len(quotes) >= 6
    theirs = {"make: command not found", "slipway: command not found"}  # what a shell says
    files = [ROOT / "Makefile", *(ROOT / "slipway").glob("**/*.py"), *(ROOT / "toolchain").glob("**/*.py")]
    code = "\n".join(path.read_text("utf-8") for path in files)
    assert [quote for quote in quotes if quote not in code and quote not in theirs] == []
