"""A request and its answer: the answer as the bytes of HTTP/1.1, whole or as a stream.

Apart from the connection, which reads requests and says whose turn it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from serving.batching import Job
from serving.program import Answer
from serving.tasks.request import JSON

if TYPE_CHECKING:
    from serving.connection import Connection

_LARGE = 64 * 1024
"""Bytes from which an answer is not copied to lie behind its headers."""


class Exchange(Job):
    """A request and its answer, which waits for the answers before it."""

    __slots__ = ("close", "connection", "done", "head_only", "out", "streaming", "version_1_0")

    def __init__(self, connection: Connection, *, keep_alive: bool, head_only: bool, version_1_0: bool) -> None:
        super().__init__()
        self.connection = connection
        self.close = not keep_alive
        self.head_only = head_only
        self.version_1_0 = version_1_0
        self.arrived = 0.0
        self.out: list[Any] = []
        self.done = False
        self.streaming = False

    def finish(self, result: Answer | Exception) -> None:
        if not self.gone:
            self.connection.server.finish(self, result)

    def reply(self, status: int, parts: list[Any], kind: str = JSON, extra: bytes = b"") -> None:
        """Makes the whole answer, to be sent in its turn."""
        if self.done:
            return
        connection = self.connection
        self.done = self.gone = True
        if self.close or connection.server.draining:
            self.close = True
            extra += b"connection: close\r\n"
        elif self.version_1_0:
            extra += b"connection: keep-alive\r\n"
        size = sum(map(len, parts))
        head = connection.server.head(status, kind) + b"content-length: %d\r\n%b\r\n" % (size, extra)
        if self.head_only:
            self.out = [head]
        elif size < _LARGE:
            self.out = [b"".join((head, *parts))]
        else:
            self.out = [head, *parts]
        connection.flush()

    def fail(self, status: int, message: str, extra: bytes = b"") -> None:
        self.reply(status, [orjson.dumps({"error": message})], extra=extra)

    def send_part(self, part: bytes, kind: str) -> None:
        if self.gone:
            return
        if not self.streaming:
            self.streaming = True
            extra = b"connection: close\r\n" if self.close or self.version_1_0 else b"transfer-encoding: chunked\r\n"
            self.close = self.close or self.version_1_0
            self.out.append(self.connection.server.head(200, kind) + extra + b"\r\n")
        self.out.append(part if self.version_1_0 else b"%x\r\n%b\r\n" % (len(part), part))
        self.connection.flush()

    def end_stream(self, error: Exception | None) -> None:
        if self.gone:
            return
        if error is not None and not self.streaming:
            self.finish(error)
            return
        self.connection.server.ended(self, error)
        if error is not None:  # the client must not take what it has for the whole
            self.connection.abort()
            return
        if not self.streaming:
            self.reply(200, [])
            return
        self.done = self.gone = True
        if not self.version_1_0:
            self.out.append(b"0\r\n\r\n")
        self.connection.flush()

    def wait_writable(self) -> None:
        self.connection.writable.wait(self.connection.server.settings.request_seconds)
