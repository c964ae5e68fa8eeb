"""The same `model.tar.gz` under AWS's own PyTorch toolkit on TorchServe, and under our server: the same answers."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import litert_models
import numpy as np
import pytest
from archives import extract
from overlays import python_with
from serving_artifacts import Client, npy, png, running_server, wav, write_artifact

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(shutil.which("java") is None, reason="TorchServe needs Java 11 or newer on PATH"),
]

# The toolkit writes its settings to /etc, where only a container may; everything else is as in AWS's image.
LAUNCH = """
import os
from sagemaker_pytorch_serving_container import serving, torchserve
torchserve.TS_CONFIG_FILE = os.environ["SETTINGS"]
serving.main()
"""


@pytest.fixture(scope="module")
def toolkit() -> Path:
    """Python of an environment with the toolkit, which sees this one's packages after its own."""
    return python_with("torchserve")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextlib.contextmanager
def torchserve(python: Path, artifact: Path, base: Path) -> Iterator[Client]:
    """AWS's toolkit, ready, on a free port, with the artifact unpacked in `base/model`."""
    with tarfile.open(artifact) as archive:
        extract(archive, base / "model")
    port, metrics, grpc, grpc_management = free_ports(4)
    foreign = ("PYTHON", "SAGEMAKER_", "TS_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "SETTINGS": str(base / "ts.properties"),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "TS_INFERENCE_ADDRESS": f"http://127.0.0.1:{port}",
        "TS_MANAGEMENT_ADDRESS": f"http://127.0.0.1:{port}",
        "TS_METRICS_ADDRESS": f"http://127.0.0.1:{metrics}",
        "TS_GRPC_INFERENCE_PORT": str(grpc),
        "TS_GRPC_MANAGEMENT_PORT": str(grpc_management),
        "TEMP": str(base),
        "PIP_NO_INDEX": "1",  # code/requirements.txt must be satisfied by what is installed
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    log = base / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, "-c", LAUNCH], cwd=base, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    client = Client(port)
    try:
        deadline = time.monotonic() + 180
        while not is_ready(port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-6000:]
            time.sleep(0.25)
        yield client
    finally:
        client.connection.close()
        os.killpg(process.pid, signal.SIGKILL)  # the session it began: Java and the Python worker too
        process.wait()


def is_ready(port: int) -> bool:
    """Whether `/ping` is healthy and the worker has loaded the model, which TorchServe's `/ping` does not wait for."""
    client = Client(port)
    try:
        if client.request(None, path="/ping", method="GET")[0] != 200:
            return False
        status, _, body = client.request(None, path="/models/model", method="GET")
        return status == 200 and json.loads(body)[0]["workers"][0]["status"] == "READY"
    except (OSError, http.client.HTTPException, LookupError):
        return False
    finally:
        client.connection.close()


PICTURE = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
TONE = np.sin(np.arange(4410) / 20) * 0.5 + 0.1

REQUESTS = {
    "token-classification": [
        (json.dumps({"inputs": ["The goal, match", "shares"]}).encode(), "application/json"),
        ("märket market shares".encode(), "text/plain"),
    ],
    "text-classification": [
        (json.dumps({"inputs": "goal, match and goal"}).encode(), "application/json"),
        (json.dumps({"inputs": ["shares", "goal"], "parameters": {"top_k": 2}}).encode(), "application/json"),
        ("märket shares".encode(), "text/plain"),
    ],
    "image-classification": [
        (png(PICTURE), "image/png"),
        (npy(PICTURE), "application/x-npy"),
        (json.dumps({"inputs": base64.b64encode(png(PICTURE)).decode()}).encode(), "application/json"),
    ],
    "audio-classification": [(wav(TONE, 11025), "audio/wav"), (wav(TONE, 8000, width=3), "audio/x-wav")],
    "object-detection": [
        (png(PICTURE), "image/png"),
        (
            json.dumps({"inputs": base64.b64encode(png(PICTURE)).decode(), "parameters": {"threshold": 0}}).encode(),
            "application/json",
        ),
    ],
    "tabular": [
        (b"kind,length,count\nlarge,1.5,3\n,,4\n", "text/csv"),
        (json.dumps({"inputs": {"data": {"length": ["2.5"], "count": [1]}}}).encode(), "application/json"),
        (json.dumps({"inputs": [{"count": 3}], "parameters": {"top_k": 2}}).encode(), "application/json"),
    ],
    "tensor": [
        (json.dumps({"inputs": {"x": [[1, 2, 3], [4, 5, 6]]}}).encode(), "application/json"),
        (npy(np.ones((2, 3), np.float32)), "application/x-npy"),
    ],
}


# One of LiteRT is enough: what differs lies behind the handler's session.
ARTIFACTS = [(task, partial(write_artifact, task=task)) for task in REQUESTS] + [
    ("tensor", litert_models.write_artifact)
]


@pytest.mark.parametrize(("task", "write"), ARTIFACTS, ids=[*REQUESTS, "litert"])
def test_awss_toolkit_gives_the_same_answers_as_our_server(
    task: str, write: Callable[[Path], Path], toolkit: Path, tmp_path: Path
) -> None:
    unpacked = write(tmp_path / "artifact")
    packed = tmp_path / "model.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        for path in sorted(unpacked.iterdir()):
            archive.add(path, path.name)
    (tmp_path / "opt").mkdir()
    with running_server(unpacked) as (_, ours), torchserve(toolkit, packed, tmp_path / "opt") as theirs:
        for body, content_type in REQUESTS[task]:
            status, kind, answer = ours.request(body, content_type, accept="application/json")
            assert status == 200, answer
            assert theirs.request(body, content_type, accept="application/json") == (status, kind, answer)
        for body, content_type in [(b"{", "application/json"), (b"{}", "application/json"), (b"x", "text/csv")]:
            status, _, answer = ours.request(body, content_type)
            their_status, _, their_answer = theirs.request(body, content_type)
            assert status == their_status
            assert status in (400, 415)
            assert their_answer.decode().startswith(json.loads(answer)["error"])
