"""`python -m serving` over real sockets and signals: the container contract, limits, draining, bad artifacts."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_artifacts import Client, npy, png, running_server, start_server, wav, write_artifact

from serving.settings import Settings

MAX_PENDING = Settings().max_pending

pytestmark = pytest.mark.contract

ROWS = b'{"inputs": [[1, 2, 3]]}'

HELD = """
import pathlib, time
released = pathlib.Path(__file__).with_name("released")
def predict_fn(data, model):
    print("begun", flush=True)
    while not released.exists():
        time.sleep(0.01)
    return {"finished": True}
"""


@pytest.fixture(scope="module")
def tensor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = write_artifact(tmp_path_factory.mktemp("tensor") / "artifact", "tensor")
    with running_server(directory) as (_, client):
        yield client


def own_code(directory: Path, source: str) -> Path:
    write_artifact(directory, "tensor", code=False)
    (directory / "code").mkdir()
    (directory / "code/inference.py").write_text(source)
    return directory


@pytest.mark.parametrize(
    ("task", "body", "content_type", "label"),
    [
        ("text-classification", b'{"inputs": "market shares"}', "application/json", "business"),
        ("image-classification", png(np.full((4, 4), 200, np.uint8)), "image/png", "business"),
        ("audio-classification", wav(np.full(2000, 0.5), 8000), "audio/wav", "sport"),
        ("object-detection", png(np.zeros((4, 4), np.uint8)), "image/png", "sport"),
        ("tabular", b"kind,length,count\nlarge,,3", "text/csv", "business"),
    ],
)
def test_each_task_predicts(task: str, body: bytes, content_type: str, label: str, tmp_path: Path) -> None:
    with running_server(write_artifact(tmp_path / "artifact", task)) as (_, client):
        assert client.request(None, path="/ping", method="GET")[0] == 200
        status, kind, answer = client.request(body, content_type)
        assert (status, kind) == (200, "application/json")
        first = json.loads(answer)[0]
        assert (first if task == "tabular" else first["label"]) == label


def test_arrays_go_in_and_out(tensor: Client) -> None:
    assert tensor.request(ROWS) == (200, "application/json", b'{"outputs":{"output":[[22.0,28.0]]}}')
    status, kind, answer = tensor.request(
        npy(np.array([[1, 2, 3]], np.float32)), "application/x-npy", accept="application/x-npy"
    )
    assert (status, kind) == (200, "application/x-npy")
    assert answer == npy(np.array([[22, 28]], np.float32))


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"body": b"{"}, 400, "not JSON"),
        ({"body": b'{"inputs": [[1, 2]]}'}, 400, "x: expected shape (batch, 3), given (1, 2)"),
        ({"body": b"1,2,3", "content_type": "text/csv"}, 415, "application/json, application/x-npy"),
        ({"body": ROWS, "accept": "text/html"}, 406, "not text/html"),
        ({"body": ROWS, "path": "/predict"}, 404, "there is no /predict"),
        ({"body": None, "method": "GET"}, 405, "/invocations takes POST, not GET"),
        ({"body": b"", "path": "/ping"}, 405, "/ping takes GET, not POST"),
        ({"body": b" " * (6 * 1024 * 1024 + 1)}, 413, "6 MB"),
        ({"body": b" " * (20 * 1024 * 1024)}, 413, "6 MB"),
    ],
)
def test_mistakes_are_json_with_their_status(
    tensor: Client, request_: dict[str, Any], status: int, message: str
) -> None:
    found, kind, answer = tensor.request(**request_)
    assert (found, kind) == (status, "application/json")
    assert message in json.loads(answer)["error"]
    assert tensor.request(ROWS)[0] == 200


def test_a_body_of_exactly_the_limit_is_taken(tensor: Client) -> None:
    assert tensor.request(ROWS + b" " * (6 * 1024 * 1024 - len(ROWS)))[0] == 200


def test_a_body_without_a_length_is_counted(tensor: Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(7):
            yield b" " * (1024 * 1024)

    tensor.connection.request("POST", "/invocations", chunks(), {"Content-Type": "application/json"})
    response = tensor.connection.getresponse()
    assert response.status == 413
    response.read()


def test_a_client_that_asks_first_is_refused_before_it_sends(tensor: Client) -> None:
    with socket.create_connection(("127.0.0.1", tensor.connection.port), timeout=30) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 7000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_failing_prediction_tells_its_message_and_logs_its_traceback(tmp_path: Path) -> None:
    source = "def predict_fn(data, model):\n    raise RuntimeError('no luck')\n"
    with running_server(own_code(tmp_path / "artifact", source)) as (process, client):
        status, _, answer = client.request(ROWS)
        assert (status, json.loads(answer)) == (500, {"error": "the prediction failed: no luck"})
        assert client.request(None, path="/ping", method="GET")[0] == 200
        client.connection.close()
        process.terminate()
        log = process.communicate(timeout=30)[1]
    assert "Traceback" in log
    assert "inference.py" in log


def test_what_own_code_prints_does_not_reach_standard_output(tmp_path: Path) -> None:
    source = "print('hello', flush=True)\ndef predict_fn(data, model):\n    return {'own': len(data.samples)}\n"
    with running_server(own_code(tmp_path / "artifact", source)) as (process, client):
        assert client.request(ROWS)[2] == b'{"own":1}'
        client.connection.close()
        process.terminate()
        output, log = process.communicate(timeout=30)
    assert output == ""
    assert "hello" in log


def await_begun(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    assert any("begun" in line for line in process.stderr)


def release(directory: Path) -> None:
    (directory / "code/released").touch()


def test_sigterm_lets_what_was_begun_finish_and_ends_well(tmp_path: Path) -> None:
    directory = own_code(tmp_path / "artifact", HELD)
    with running_server(directory) as (process, client), concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(client.request, ROWS)
        await_begun(process)
        process.send_signal(signal.SIGTERM)
        while accepts_connections(client.connection.port):
            time.sleep(0.02)
        assert not answer.done()
        release(directory)
        assert answer.result(timeout=30) == (200, "application/json", b'{"finished":true}')
        assert process.wait(timeout=30) == 0


def accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_pings_are_answered_while_a_prediction_runs(tmp_path: Path) -> None:
    directory = own_code(tmp_path / "artifact", HELD)
    with running_server(directory) as (process, client), concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(client.request, ROWS)
        await_begun(process)
        other = Client(client.connection.port)
        assert other.request(None, path="/ping", method="GET")[0] == 200
        other.connection.close()
        assert not answer.done()
        release(directory)
        assert answer.result(timeout=30)[0] == 200


def test_more_than_the_server_can_queue_is_refused_at_once(tmp_path: Path) -> None:
    directory = own_code(tmp_path / "artifact", HELD)
    extra = 10
    with (
        running_server(directory) as (_, client),
        concurrent.futures.ThreadPoolExecutor(MAX_PENDING + extra) as pool,
    ):

        def one() -> int:
            other = Client(client.connection.port)
            try:
                return other.request(ROWS)[0]
            finally:
                other.connection.close()

        answers = [pool.submit(one) for _ in range(MAX_PENDING + extra)]
        first = [next(done) for done in [concurrent.futures.as_completed(answers)] for _ in range(extra)]
        assert [future.result() for future in first] == [503] * extra
        release(directory)
        assert sorted(future.result() for future in answers) == [200] * MAX_PENDING + [503] * extra


def test_it_ends_when_its_parent_closes_standard_input(tmp_path: Path) -> None:
    with running_server(write_artifact(tmp_path / "artifact", "tensor")) as (process, _):
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0
        process.stdin = None  # for communicate()


def failure(directory: Path, *arguments: str, **environment: str) -> str:
    """The last line of stderr of a server that cannot start."""
    process = start_server(directory, *arguments, **environment)
    try:
        output, log = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 1
    assert output == ""
    return log.splitlines()[-1]


def test_a_missing_folder_is_the_last_line(tmp_path: Path) -> None:
    assert "there is no such folder" in failure(tmp_path / "nowhere")


def test_a_damaged_model_is_the_last_line(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "tensor")
    content = (directory / "model.onnx").read_bytes()
    (directory / "model.onnx").write_bytes(content[:-4])
    assert failure(directory).endswith("model.onnx: is damaged: its SHA-256 is not the one in slipway.json")


def test_own_code_that_cannot_be_imported_is_the_last_line(tmp_path: Path) -> None:
    last = failure(own_code(tmp_path / "artifact", "import nothing_like_this\n"))
    assert last.endswith("cannot be imported: ModuleNotFoundError: No module named 'nothing_like_this'")


def test_a_taken_port_is_the_last_line(tensor: Client, tmp_path: Path) -> None:
    last = failure(tmp_path, "--port", str(tensor.connection.port))
    assert last.startswith(f"port {tensor.connection.port} on 127.0.0.1 cannot be used: Address already in use")
