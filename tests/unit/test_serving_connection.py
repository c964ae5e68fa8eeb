"""A connection by itself: it is gone when its client is, and a request that cannot be admitted never keeps its body."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from serving.connection import MAX_PIPELINED, Connection
from serving.exchange import Exchange
from serving.metrics import Metrics
from serving.settings import Settings


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.sent += data

    def writelines(self, parts: list[Any]) -> None:
        self.sent += b"".join(parts)

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1)


class Server:
    """Stands in for the server; its model answers when the test says so."""

    def __init__(self, admits: bool = True) -> None:
        self.settings = Settings(max_body_mb=1)
        self.metrics = Metrics()
        self.now = time.monotonic()
        self.draining = False
        self.buffered = 0
        self.admits = admits
        self.submitted: list[Exchange] = []

    def opened(self, connection: Connection) -> bool:
        return True

    def closed(self, connection: Connection) -> None:
        return

    def head(self, status: int, kind: str) -> bytes:
        return b"HTTP/1.1 %d x\r\n" % status

    def admit(self, exchange: Exchange, length: int) -> bool:
        if not self.admits:
            exchange.fail(503, "full")
        return self.admits

    def submit(self, exchange: Exchange) -> None:
        self.submitted.append(exchange)

    def overdue(self, exchange: Exchange) -> None:
        exchange.close = True
        exchange.fail(504, "late")


def opened(server: Server) -> tuple[Connection, Transport]:
    connection = Connection(server)  # type: ignore[arg-type]
    transport = Transport()
    connection.connection_made(transport)
    return connection, transport


def post(body: bytes = b"{}", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (size, body)


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_a_connection_is_freed_with_its_client_without_the_collectors_help(without_collector: None) -> None:
    server = Server()
    connection, _ = opened(server)
    connection.data_received(post())
    server.submitted.pop().reply(200, [b"{}"])
    gone = weakref.ref(connection)
    connection.connection_lost(None)
    del connection
    assert gone() is None


def test_answers_wait_for_those_before_them() -> None:
    server = Server()
    connection, transport = opened(server)
    connection.data_received(post(b"1") + post(b"2"))
    first, second = server.submitted
    assert (first.call.body, second.call.body) == (b"1", b"2")
    second.reply(200, [b"two"])
    assert transport.sent == b""
    first.reply(200, [b"one"])
    assert transport.sent.index(b"one") < transport.sent.index(b"two")


def test_a_client_that_pipelines_without_reading_is_not_read_from() -> None:
    server = Server()
    connection, transport = opened(server)
    connection.data_received(post() * (MAX_PIPELINED + 1))
    assert not transport.reading
    for exchange in server.submitted:
        exchange.reply(200, [b"{}"])
    assert transport.reading


def test_the_body_of_a_refused_request_is_thrown_away_and_the_next_one_read() -> None:
    server = Server(admits=False)
    connection, transport = opened(server)
    connection.data_received(post(b"", length=500_000))
    assert b" 503 " in transport.sent
    for _ in range(5):
        connection.data_received(b"x" * 100_000)
    assert server.buffered == 0
    server.admits = True
    connection.data_received(post(b"next"))
    assert server.submitted[0].call.body == b"next"


def test_bytes_held_are_counted_until_the_body_is_whole_or_the_client_gone() -> None:
    server = Server()
    connection, _ = opened(server)
    connection.data_received(post(b"x" * 100, length=200))
    assert server.buffered == 100
    connection.data_received(b"x" * 100)
    assert (server.buffered, len(server.submitted)) == (0, 1)
    other, _ = opened(server)
    other.data_received(post(b"x" * 100, length=200))
    other.connection_lost(None)
    assert server.buffered == 0


def test_a_client_that_left_marks_its_request_as_not_worth_a_prediction() -> None:
    server = Server()
    connection, transport = opened(server)
    connection.data_received(post())
    connection.connection_lost(None)
    assert server.submitted[0].gone
    server.submitted[0].finish(RuntimeError("late"))
    assert transport.sent == b""


def test_deadlines_are_those_of_what_is_awaited() -> None:
    server = Server()
    settings = server.settings
    for sent, seconds, answer in (
        (b"", settings.header_seconds, b""),
        (b"POST /inv", settings.header_seconds, b" 408 "),
        (post(b"x", length=2), settings.body_seconds, b" 408 "),
        (post(), settings.request_seconds, b" 504 "),
    ):
        connection, transport = opened(server)
        connection.data_received(sent) if sent else None
        connection.expire(server.now + seconds - 1)
        assert (transport.sent, transport.closed) == (b"", False)
        connection.expire(server.now + seconds + 2)
        assert answer in transport.sent
        if not answer:
            assert transport.closed


def test_trailers_and_tiny_chunks_without_end_are_cut_off() -> None:
    server = Server()
    connection, transport = opened(server)
    connection.data_received(b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
    for _ in range(9 * 16):
        connection.data_received(b"y" * 65536)
    assert b" 413 " in transport.sent


def test_a_stream_waits_for_a_client_that_reads_slowly() -> None:
    server = Server()
    connection, transport = opened(server)
    connection.data_received(post())
    exchange = server.submitted[0]
    exchange.send_part(b"one", "text/plain")
    connection.pause_writing()
    waited = threading.Event()
    thread = threading.Thread(target=lambda: (exchange.wait_writable(), waited.set()))
    thread.start()
    assert not waited.wait(0.05)
    connection.resume_writing()
    thread.join(30)
    assert waited.is_set()
    assert transport.sent.endswith(b"3\r\none\r\n")
