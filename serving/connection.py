"""One client's connection: bytes to requests by httptools, answers in their order, deadlines and limits on the way.

Apart from the server, which knows the model and all connections, and from the exchange, which makes an answer's bytes.
Time is looked at by the server's sweep alone (`expire`): a timer for each request would cost more.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools
import orjson

from serving.exchange import Exchange
from serving.program import Call
from serving.tasks.request import JSON

if TYPE_CHECKING:
    from serving.server import Server

MAX_HEADERS = 32 * 1024
"""Bytes before a request's body."""
MAX_PIPELINED = 16
KEEP_ALIVE_SECONDS = 75
"""Longer than callers keep idle connections, so that they never send into one that is being closed."""
LINGER_SECONDS = 3
"""How long what a refused client still sends is thrown away: closing at once would reset it and lose the answer."""
SLOWEST_BYTES_PER_SECOND = 64 * 1024
_MOST_WIRE = 8
"""Bytes on the wire for each byte of the largest body: chunked encoding may take several."""

log = logging.getLogger("serving")

_WANTED = {b"content-type", b"accept", b"content-length", b"expect", b"connection", b"transfer-encoding"}


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 with one client."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.deadline = server.now + server.settings.header_seconds
        self.exchanges: deque[Exchange] = deque()
        self.writable = threading.Event()
        self.writable.set()
        self._transport: Any = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._receiving: Exchange | None = None
        """The request whose body comes in; None between requests."""
        self._deaf = False
        """What still comes in is thrown away: after a refusal, or after an upgrade that was not granted."""
        self._unread = False
        self._in_head = False
        self._paused = False
        self._began = False
        self._head_size = 0
        self._url = b""
        self._fields: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._size = 0
        self._wire = 0
        self._blocked_since = 0.0

    # The transport's calls

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if not self.server.opened(self):
            body = orjson.dumps({"error": "too many connections are open; try again later"})
            head = self.server.head(503, JSON)
            transport.write(
                head + b"content-length: %d\r\nretry-after: 1\r\nconnection: close\r\n\r\n%b" % (len(body), body)
            )
            self._unread = True
            self._end()

    def data_received(self, data: bytes) -> None:
        self._wire += len(data)
        if self._deaf:
            if self._wire > _MOST_WIRE * self.server.settings.max_body:
                self.abort()
            return
        if self._in_head or self._receiving is None:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            log.exception("a request could not be handled")
            self.abort()
        except httptools.HttpParserError as error:
            self._refuse(400, f"this is not HTTP/1.1: {error}", "malformed")
        else:
            if self._in_head and self._head_size > MAX_HEADERS:
                self._refuse(431, f"the headers are larger than {MAX_HEADERS} bytes", "size")
            elif self._receiving is not None and self._wire > _MOST_WIRE * self.server.settings.max_body:
                self._too_large()  # chunks of a byte each, or trailers without end

    def eof_received(self) -> bool:
        # A client may close its side and still read: only what is half received can no longer be answered.
        if not self.exchanges or self._receiving is not None or self._deaf:
            return False
        self.exchanges[-1].close = True
        return True

    def connection_lost(self, error: Exception | None) -> None:
        for exchange in self.exchanges:
            exchange.gone = True
        self.exchanges.clear()
        self.server.buffered -= self._size if self._receiving else 0
        self._receiving = None
        self._deaf = True
        self._parser = None  # it refers to this connection: without it, both go at once
        self.writable.set()
        self.server.closed(self)

    def pause_writing(self) -> None:
        self._blocked_since = self.server.now
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    # The parser's calls

    def on_message_begin(self) -> None:
        self._in_head = self._began = True
        self._url = b""
        self._fields = {}
        if self._receiving is None and not self.exchanges:
            self.deadline = self.server.now + self.server.settings.header_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _WANTED:
            self._fields[name] = value

    def on_headers_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        self._in_head = False
        self._head_size = 0
        method = self._parser.get_method()
        keep_alive = self._parser.should_keep_alive()
        old = (not keep_alive or b"connection" in self._fields) and self._parser.get_http_version() == "1.0"
        exchange = Exchange(self, keep_alive=keep_alive, head_only=method == b"HEAD", version_1_0=old)
        self._receiving = exchange
        self._size = self._wire = 0
        if self._deaf:  # what is left of a chunk after a refusal
            exchange.gone = True
            return
        self.exchanges.append(exchange)
        if len(self.exchanges) > MAX_PIPELINED:
            self._paused = True
            self._transport.pause_reading()
        path = self._url.partition(b"?")[0]
        if path != b"/invocations" or method != b"POST":
            self.server.other(exchange, path.decode("latin-1"), method.decode("latin-1"), self._is_local())
            return
        length = int(self._fields.get(b"content-length", b"0"))  # the parser refuses what is not a number
        if length > self.server.settings.max_body:
            self._too_large()
        elif self.server.admit(exchange, length):
            settings = self.server.settings
            most = length if b"content-length" in self._fields else settings.max_body
            self.deadline = self.server.now + settings.body_seconds + most / SLOWEST_BYTES_PER_SECOND
            if b"expect" in self._fields and len(self.exchanges) == 1:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        exchange = self._receiving
        if exchange is None or exchange.gone:
            return
        self._size += len(body)
        self.server.buffered += len(body)
        if self._size > self.server.settings.max_body:
            self._too_large()
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        exchange, self._receiving = self._receiving, None
        if exchange is None:
            return
        chunks, self._chunks = self._chunks, []
        self.server.buffered -= self._size
        self._size = 0
        if exchange.gone:
            self._settle()
            return
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        fields = self._fields
        exchange.call = Call(body, _text(fields.get(b"content-type")), _text(fields.get(b"accept")))
        exchange.arrived = time.monotonic()
        self.deadline = self.server.now + self.server.settings.request_seconds + 1
        self.server.submit(exchange)

    # What the server and the exchanges call

    def flush(self) -> None:
        """Sends what is ready, in the order of the requests."""
        exchanges = self.exchanges
        while exchanges:
            first = exchanges[0]
            if first.out:
                if len(first.out) == 1:
                    self._transport.write(first.out[0])
                else:
                    self._transport.writelines(first.out)
                first.out = []
            if not first.done:
                return
            exchanges.popleft()
            if first.close:
                self._end()
                return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._settle()

    def expire(self, now: float) -> None:
        """Gives up a client that is too slow, or a request that took too long. Called by the server's sweep."""
        settings = self.server.settings
        if not self.writable.is_set() and now - self._blocked_since > (
            settings.body_seconds + self._transport.get_write_buffer_size() / SLOWEST_BYTES_PER_SECOND
        ):
            self.server.metrics.refuse("slow")
            self.abort()
            return
        first = self.exchanges[0] if self.exchanges else None
        if first is not None and first.arrived and not first.done and now - first.arrived > settings.request_seconds:
            self.server.overdue(first)
            return
        if now < self.deadline or (first is not None and first.arrived):
            return
        if self._deaf or not self._began:
            if not self._deaf:
                self.server.metrics.refuse("slow")
            self._transport.close()
        elif self._in_head or self._receiving is not None:
            self._refuse(408, "the request did not arrive in time", "slow")
        else:
            self._transport.close()

    def close_if_idle(self) -> None:
        """Ends a connection on which nothing is under way."""
        if not self.busy and not self._deaf:
            self._transport.close()

    @property
    def busy(self) -> bool:
        """Whether a request is coming in, or waits for its answer."""
        return bool(self.exchanges) or self._receiving is not None or self._in_head

    def abort(self) -> None:
        self._transport.abort()

    def _settle(self) -> None:
        """Between two requests."""
        if not self.busy and not self._deaf:
            self.deadline = self.server.now + KEEP_ALIVE_SECONDS
            if self.server.draining:
                self._transport.close()

    def _decline_upgrade(self, rest: bytes) -> None:
        """Takes a request that asks for another protocol (as Java's client does for HTTP/2) as one that does not.

        The parser ends at such a request and leaves its body unread: another one starts anew with the same request.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(405, "this server is no proxy", "malformed")
            return
        if b"close" not in self._fields.pop(b"connection", b"").lower():
            version = self._parser.get_http_version().encode()
        else:
            version = b"1.0"
        fields = b"".join(b"%b: %b\r\n" % field for field in self._fields.items())
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"%b %b HTTP/%b\r\n%b\r\n%b" % (method, self._url, version, fields, rest))

    def _too_large(self) -> None:
        limit = self.server.settings.max_body
        self._refuse(413, f"the body is larger than {limit} bytes ({limit >> 20} MB)", "size")

    def _refuse(self, status: int, message: str, reason: str) -> None:
        """Answers the request that is coming in, and reads no further ones."""
        self.server.metrics.refuse(reason)
        exchange = self._receiving
        self.server.buffered -= self._size
        self._size = 0
        self._chunks.clear()
        self._receiving = None
        self._in_head = False
        self._deaf = self._unread = True
        if exchange is None:
            exchange = Exchange(self, keep_alive=False, head_only=False, version_1_0=False)
            self.exchanges.append(exchange)
        exchange.close = True
        if exchange.done:  # it was refused before, and its body is too slow or too large for that
            self._end()
            return
        self.server.metrics.answered(status)
        exchange.fail(status, message)

    def _end(self) -> None:
        """Closes when all answers are sent: at once, or when a client that still sends has had time to read."""
        self._deaf = True
        self._wire = 0
        self.deadline = self.server.now + LINGER_SECONDS
        if not self._unread:
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def _is_local(self) -> bool:
        host = str((self._transport.get_extra_info("peername") or ("",))[0])
        return host == "::1" or host.startswith(("127.", "::ffff:127."))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
