"""The file system that `serving/Dockerfile` describes, made without Docker, serves by the container contract."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dockerfiles import Image, lay_out, within
from serving_artifacts import PROJECT, Client, write_artifact

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return lay_out(PROJECT / "serving/Dockerfile", PROJECT, tmp_path_factory.mktemp("image"))


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Path]:
    directory = write_artifact(tmp_path / "model", "text-classification")
    for path in [directory, *directory.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    yield directory
    for path in [directory, *directory.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


def forbid_writing() -> None:
    """Every write to a file fails from now on: the root file system is read-only, and there is no other."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def user_of(image: Image) -> dict[str, int]:
    """The image's user where this one may become it, and it may read the interpreter."""
    user, group = map(int, image.user.split(":"))
    python = (image.root / "usr/local/bin/python").resolve()
    reachable = all(parent.stat().st_mode & 0o001 for parent in [*python.parents, *image.root.resolve().parents])
    return {"user": user, "group": group} if os.geteuid() == 0 and reachable else {}


def test_the_image_serves_a_read_only_model_and_ends_on_sigterm(image: Image, model: Path) -> None:
    assert image.user == "10001:10001"
    assert image.command == ["serve"]
    command = [within(image.root, word).replace(f"{image.root}/opt/ml/model", str(model)) for word in image.entrypoint]
    assert str(model) in command
    environment = {name: within(image.root, value) for name, value in image.environment.items()}
    environment |= {"PATH": f"{image.root}/usr/local/bin", "SAGEMAKER_BIND_TO_PORT": "0"}
    process = subprocess.Popen(
        [*command, *image.command],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=forbid_writing,
        **user_of(image),  # type: ignore[call-overload]
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=60)[1]
        client = Client(json.loads(line)["port"])
        assert client.request(None, path="/ping", method="GET")[0] == 200
        status, _, answer = client.request(b'{"inputs": "market shares"}')
        assert (status, json.loads(answer)[0]["label"]) == (200, "business")
        client.connection.close()
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_image_holds_the_server_and_no_compiler_test_or_other_room(image: Image) -> None:
    assert {path.name for path in (image.root / "opt").iterdir()} == {"packages", "slipway"}
    assert {path.name for path in (image.root / "opt/slipway").iterdir()} == {"serving"}
    packages = {path.name for path in (image.root / "opt/packages").iterdir()}
    assert {"onnxruntime", "tokenizers", "uvloop", "httptools"} <= packages
    assert not {"torch", "pip", "moto", "uvicorn", "pytest"} & packages
    assert list((image.root / "opt/slipway").rglob("*.pyc")), "nothing is compiled at run time"
