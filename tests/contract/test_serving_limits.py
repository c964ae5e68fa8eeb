"""`python -m serving` against clients that are slow, too many, too large or odd, and what it tells about itself."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save
from serving_artifacts import Client, running_server, start_server, write_artifact

pytestmark = pytest.mark.contract

ROWS = b'{"inputs": [[1, 2, 3]]}'
ANSWER = b'{"outputs":{"output":[[22.0,28.0]]}}'
REQUEST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(ROWS), ROWS)
SHORT = {"SLIPWAY_HEADER_SECONDS": "1", "SLIPWAY_BODY_SECONDS": "1", "SLIPWAY_METRICS": "any"}

OWN = """
import pathlib, time
released = pathlib.Path(__file__).with_name("released")
def input_fn(body, content_type):
    return bytes(body).decode()
def predict_fn(data, model):
    if data == "held":
        while not released.exists():
            time.sleep(0.01)
    return data
def output_fn(prediction, accept):
    if prediction == "stream":
        return (part for part in ["one ", "two ", "three"]), "text/plain"
    if prediction == "broken":
        return broken(), "text/plain"
    return prediction, "text/plain"
def broken():
    yield "one"
    raise RuntimeError("broken off")
"""


@pytest.fixture(scope="module")
def tensor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = write_artifact(tmp_path_factory.mktemp("limits") / "artifact", "tensor")
    with running_server(directory, **SHORT) as (_, client):
        yield client


@contextlib.contextmanager
def own(tmp_path: Path, **environment: str) -> Iterator[tuple[Client, Path]]:
    directory = write_artifact(tmp_path / "artifact", "tensor", code=False)
    (directory / "code").mkdir()
    (directory / "code/inference.py").write_text(OWN)
    with running_server(directory, **environment) as (_, client):
        yield client, directory / "code/released"


@contextlib.contextmanager
def connected(client: Client) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", client.connection.port), timeout=60) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_answers(connection: socket.socket, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of `count` answers on one connection."""
    stream = connection.makefile("rb")
    answers = []
    for _ in range(count):
        status = int(stream.readline().split()[1])
        headers = {}
        while line := stream.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name] = value
        answers.append((status, headers, stream.read(int(headers["content-length"]))))
    return answers


def metric(client: Client, name: str) -> float:
    status, kind, text = client.request(None, path="/metrics", method="GET")
    assert status == 200
    assert kind.startswith("application/openmetrics-text")
    found = re.search(rf"^{re.escape(name)} (\S+)$", text.decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_safetensors_go_in_and_out(tensor: Client) -> None:
    kind = "application/x-safetensors"
    status, answered, body = tensor.request(save({"x": np.array([[1, 2, 3]], np.float32)}), kind, accept=kind)
    assert (status, answered) == (200, kind)
    assert load(body)["output"].tolist() == [[22, 28]]


def test_requests_sent_without_waiting_are_answered_in_their_order(tensor: Client) -> None:
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(tensor) as connection:
        connection.sendall(REQUEST + ping + REQUEST * 30 + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = read_answers(connection, 33)
    assert [status for status, _, _ in answers] == [200] * 32 + [404]
    assert [body for _, _, body in answers[:3]] == [ANSWER, b"", ANSWER]


def test_a_request_in_single_bytes_is_understood(tensor: Client) -> None:
    with connected(tensor) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in REQUEST:
            connection.sendall(bytes([byte]))
        assert read_answers(connection, 1)[0][2] == ANSWER


def test_a_chunked_body_is_put_together(tensor: Client) -> None:
    with connected(tensor) as connection:
        chunks = b"".join(b"%x\r\n%b\r\n" % (1, ROWS[index : index + 1]) for index in range(len(ROWS)))
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        )
        assert read_answers(connection, 1)[0][2] == ANSWER


def test_an_upgrade_is_not_granted_and_the_request_answered(tensor: Client) -> None:
    with connected(tensor) as connection:
        upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
        connection.sendall(REQUEST.replace(b"Host: x\r\n", b"Host: x\r\n" + upgrade) + REQUEST)
        assert [body for _, _, body in read_answers(connection, 2)] == [ANSWER] * 2


def test_an_old_client_gets_its_connection_closed_or_kept_as_it_asks(tensor: Client) -> None:
    with connected(tensor) as connection:
        connection.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
        assert b"connection: close" in read_all(connection)
    with connected(tensor) as connection:
        connection.sendall(b"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        assert [headers["connection"] for _, headers, _ in read_answers(connection, 2)] == ["keep-alive"] * 2


def test_a_head_request_gets_no_body(tensor: Client) -> None:
    with connected(tensor) as connection:
        connection.sendall(b"HEAD /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"this is not HTTP\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 400_000, 431),
    ],
    ids=["prose", "two lengths", "negative length", "endless header"],
)
def test_what_is_not_http_is_refused_and_the_connection_closed(tensor: Client, sent: bytes, status: int) -> None:
    with connected(tensor) as connection:
        connection.sendall(sent)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in answer


def test_clients_too_slow_with_headers_or_body_are_dropped(tensor: Client) -> None:
    before = metric(tensor, 'slipway_refused_total{reason="slow"}')
    with connected(tensor) as silent, connected(tensor) as head, connected(tensor) as body:
        head.sendall(b"POST /invocations HTTP/1.1\r\nHost")
        body.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        assert read_all(silent) == b""
        assert read_all(head).startswith(b"HTTP/1.1 408 ")
        assert read_all(body).startswith(b"HTTP/1.1 408 ")
    assert metric(tensor, 'slipway_refused_total{reason="slow"}') == before + 3


def test_a_thousand_slow_clients_keep_nobody_from_an_answer(tensor: Client) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            slow = stack.enter_context(connected(tensor))
            slow.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        healthy = Client(tensor.connection.port)
        for _ in range(50):
            assert healthy.request(ROWS)[2] == ANSWER
        healthy.connection.close()


def test_a_request_that_runs_past_its_deadline_is_answered_504(tmp_path: Path) -> None:
    with own(tmp_path, SLIPWAY_REQUEST_SECONDS="1") as (client, released):
        status, _, body = client.request(b"held")
        assert status == 504
        assert "within 1 s" in json.loads(body)["error"]
        waiting = Client(client.connection.port)
        deadline = time.monotonic() + 60
        while waiting.request(None, path="/ping", method="GET")[0] == 200:  # a prediction hangs: replace this replica
            assert time.monotonic() < deadline
            time.sleep(0.05)
        released.touch()
        while waiting.request(None, path="/ping", method="GET")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert waiting.request(b"next") == (200, "text/plain", b"next")
        waiting.connection.close()


def test_more_than_may_wait_is_refused_with_a_time_to_come_back_and_the_connection_kept(tmp_path: Path) -> None:
    with own(tmp_path, SLIPWAY_MAX_PENDING="1") as (client, released), concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(client.request, b"held")
        other = Client(client.connection.port)
        deadline = time.monotonic() + 60
        while metric(other, "slipway_pending_requests") < 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(3):  # on one connection, with bodies that are thrown away
            other.connection.request("POST", "/invocations", b"x" * 100_000)
            response = other.connection.getresponse()
            assert response.status == 503
            assert int(response.headers["retry-after"]) >= 1
            assert "1 requests are waiting already" in json.loads(response.read())["error"]
            assert response.headers["connection"] is None
        assert metric(other, 'slipway_refused_total{reason="queue"}') == 3
        released.touch()
        assert held.result(timeout=60)[2] == b"held"
        assert other.request(b"now") == (200, "text/plain", b"now")
        other.connection.close()


def test_answers_are_streamed_and_one_that_breaks_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    with own(tmp_path) as (client, _):
        client.connection.request("POST", "/invocations", b"stream")
        response = client.connection.getresponse()
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.read() == b"one two three"
        client.connection.request("POST", "/invocations", b"broken")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            client.connection.getresponse().read()
        client.connection.close()
        assert client.request(b"still here")[0] == 200


def test_while_draining_ping_is_false_and_kept_connections_are_ended(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "tensor", code=False)
    (directory / "code").mkdir()
    (directory / "code/inference.py").write_text(OWN)
    with running_server(directory) as (process, client), concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(client.request, b"held")
        probe = Client(client.connection.port)
        deadline = time.monotonic() + 60
        while metric(probe, "slipway_pending_requests") < 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with connected(probe) as half:  # a request that has begun is still answered
            half.sendall(b"GET /ping HTTP/1.1\r\nHo")
            while metric(probe, "slipway_open_connections") < 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                while True:
                    probe.request(None, path="/ping", method="GET")
                    assert time.monotonic() < deadline
            half.sendall(b"st: x\r\n\r\n")
            answer = read_all(half)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in answer
        (directory / "code/released").touch()
        assert held.result(timeout=60)[2] == b"held"
        assert process.wait(timeout=60) == 0


def test_a_bad_setting_is_the_last_line(tmp_path: Path) -> None:
    process = start_server(write_artifact(tmp_path / "artifact", "tensor"), SLIPWAY_MAX_BATCH="many")
    log = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert log.splitlines()[-1] == "SLIPWAY_MAX_BATCH must be an integer of at least 1, not 'many'"


def test_a_failing_prediction_is_logged_as_one_line_of_json(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "tensor", code=False)
    (directory / "code").mkdir()
    (directory / "code/inference.py").write_text("def predict_fn(data, model):\n    raise RuntimeError('no luck')\n")
    with running_server(directory) as (process, client):
        assert client.request(ROWS)[0] == 500
        client.connection.close()
        process.terminate()
        log = process.communicate(timeout=60)[1]
    (line,) = [line for line in log.splitlines() if "no luck" in line]
    record = json.loads(line)
    assert (record["level"], record["message"]) == ("error", "a prediction failed")
    assert "inference.py" in record["exception"]
