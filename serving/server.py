"""The HTTP server of the container contract: what is admitted, what is answered, and when it ends.

The connections (`connection`) speak HTTP, the prediction threads (`batching`) run the model; this module stands between
them, on uvloop's event loop. docs/adr/0001-server-library.md says why there is no framework.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Coroutine
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, TextIO

from serving import handler, metrics
from serving.batching import Batcher
from serving.connection import Connection
from serving.errors import RequestError
from serving.exchange import Exchange
from serving.program import Answer, Program
from serving.settings import Settings

BACKLOG = 1024
DRAIN_SECONDS = 28
"""SageMaker sends SIGKILL 30 s after SIGTERM."""
SWEEP_SECONDS = 0.5
FEW = 16
"""So many requests may always wait, however slow the model is: the objective is no reason to refuse a handful."""
_SHARE_OF_OBJECTIVE = 0.85
"""Of the latency objective, that an admitted request may be expected to take; the rest is for the estimate's error."""
_MEMORY = 256 * 1024 * 1024
"""Bytes of bodies held at once, or twice the largest body."""
_PATHS = {"/ping": "GET", "/metrics": "GET", "/invocations": "POST"}

log = logging.getLogger("serving")


class Server:
    """All connections around one loaded program. Everything here happens on the event loop's thread.

    `settings.workers` is the number of prediction threads, at least 1.
    """

    def __init__(self, program: Program, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.metrics = metrics.Metrics()
        self.draining = False
        self.now = time.monotonic()
        """As of the last sweep, which is near enough for deadlines."""
        self.buffered = 0
        """Bytes of bodies that are still coming in."""
        self.batcher = Batcher(
            program,
            loop,
            workers=settings.workers,
            max_batch=settings.max_batch,
            objective=settings.objective,
            observe=self._observe,
        )
        self._loop = loop
        self._connections: set[Connection] = set()
        self._heads: dict[tuple[int, str], bytes] = {}
        self._date = ""
        self._few = min(FEW, settings.max_pending)
        self._memory = max(_MEMORY, 2 * settings.max_body)

    # What connections call

    def opened(self, connection: Connection) -> bool:
        """False where there are too many."""
        self._connections.add(connection)
        if len(self._connections) <= self.settings.max_connections:
            return True
        self.metrics.refuse("connections")
        if len(self._connections) > 2 * self.settings.max_connections:
            connection.abort()
        return False

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def admit(self, exchange: Exchange, length: int) -> bool:
        """Whether a request's body may come in; a request that may not is answered at once."""
        batcher = self.batcher
        held = self.buffered + batcher.pending_bytes + length
        if batcher.pending < self._few and held <= self._memory:
            return True
        wait = batcher.expected_wait()
        if batcher.pending >= self.settings.max_pending:
            reason, message = "queue", f"{batcher.pending} requests are waiting already"
        elif wait > _SHARE_OF_OBJECTIVE * self.settings.objective:
            reason, message = "queue", f"an answer would take about {wait:.1f} s"
        elif held > self._memory:
            reason, message = "memory", "too many large requests are being received"
        else:
            return True
        self.metrics.refuse(reason)
        self.metrics.answered(503)
        exchange.fail(503, f"{message}; try again later", b"retry-after: %d\r\n" % min(30, math.ceil(wait) or 1))
        return False

    def submit(self, exchange: Exchange) -> None:
        """Queues a request that is complete."""
        if self.admit(exchange, 0):  # others may have come while its body did
            self.batcher.put(exchange)

    def other(self, exchange: Exchange, path: str, method: str, local: bool) -> None:
        """Answers everything but predictions."""
        allowed = _PATHS.get(path)
        if allowed is None:
            exchange.fail(404, f"there is no {path}; this server has GET /ping and POST /invocations")
        elif method != allowed and not (allowed == "GET" and method == "HEAD"):
            exchange.fail(405, f"{path} takes {allowed}, not {method}", b"allow: %b\r\n" % allowed.encode())
        elif path == "/ping":
            exchange.reply(200 if self.healthy() else 503, [b""])
        elif not local and self.settings.metrics == "local":
            exchange.fail(403, "metrics are for clients on this machine; SLIPWAY_METRICS=any shows them to all")
        else:
            exchange.reply(200, [self.metrics.text(self._gauges())], metrics.CONTENT_TYPE)

    def finish(self, exchange: Exchange, result: Answer | Exception) -> None:
        """Answers a request with what the model said."""
        if isinstance(result, tuple):
            parts, kind = result
            exchange.reply(200, list(parts), kind)
            self.metrics.answered(200)
        elif isinstance(result, RequestError):
            self.metrics.answered(result.status_code)
            exchange.fail(result.status_code, result.message)
        else:
            log.error("a prediction failed", exc_info=result)
            self.metrics.answered(500)
            reason = " ".join(str(result).split())[:500] or type(result).__name__
            exchange.fail(500, f"the prediction failed: {reason}")
        self.metrics.request_seconds.observe(time.monotonic() - exchange.arrived)

    def ended(self, exchange: Exchange, error: Exception | None) -> None:
        """Notes the end of a streamed answer."""
        self.metrics.request_seconds.observe(time.monotonic() - exchange.arrived)
        self.metrics.answered(200 if error is None else 500)
        if error is not None:
            log.error("a stream broke off", exc_info=error)

    def overdue(self, exchange: Exchange) -> None:
        """Gives up waiting for the model."""
        seconds = self.settings.request_seconds
        log.warning("a request was not answered within %d s", seconds)
        self.metrics.refuse("deadline")
        self.metrics.answered(504)
        exchange.close = True
        if exchange.streaming:
            exchange.connection.abort()
        else:
            exchange.fail(504, f"there was no answer within {seconds} s")

    def head(self, status: int, kind: str) -> bytes:
        """The status line and the headers that depend on nothing else."""
        head = self._heads.get((status, kind))
        if head is None:
            clean = kind.translate({13: " ", 10: " "})
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {clean}\r\ndate: {self._date}\r\n"
            ).encode("latin-1", "replace")
            self._heads[status, kind] = head
        return head

    def healthy(self) -> bool:
        """Whether new requests would be answered: not while draining, nor with a prediction that hangs."""
        stuck = self.batcher.longest_run() > 2 * self.settings.request_seconds
        return not self.draining and not stuck and self.batcher.alive

    # Its life

    def start(self) -> None:
        self._sweep()

    async def drain(self, seconds: float) -> None:
        """Lets what was begun finish, for at most `seconds`; ends idle connections at once, and all of them at last."""
        self.draining = True
        for connection in list(self._connections):
            connection.close_if_idle()
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(one.busy for one in self._connections):
            await asyncio.sleep(0.01)
        for _ in range(20):  # what was just answered is still being sent
            if not self._connections:
                return
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()

    def _sweep(self) -> None:
        self.now = now = time.monotonic()
        date = formatdate(usegmt=True)
        if date != self._date:
            self._date = date
            self._heads.clear()
        for connection in list(self._connections):
            connection.expire(now)
        self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _observe(self, size: int, seconds: float) -> None:
        self.metrics.batch_seconds.observe(seconds)
        self.metrics.batch_requests.observe(size)

    def _gauges(self) -> list[tuple[str, str, float]]:
        return [
            ("slipway_pending_requests", "Requests accepted and not yet answered.", self.batcher.pending),
            ("slipway_expected_wait_seconds", "How long a new request would wait.", self.batcher.expected_wait()),
            ("slipway_batch_limit", "Requests that one run may answer, as learned.", self.batcher.batch_limit),
            ("slipway_open_connections", "Open connections.", len(self._connections)),
            ("slipway_workers", "Threads that predict.", self.batcher.workers),
            ("slipway_threads", "Threads of one run of the model.", handler.thread_count()),
            ("slipway_ready", "1 while /ping answers 200.", self.healthy()),
        ]


def run(program: Program, listener: socket.socket, announcements: TextIO, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what was begun, for at most DRAIN_SECONDS.

    `listener` is bound and not yet listening; once it is, `announcements` gets `{"event": "ready", "port": N}`.
    """
    if not _run_loop(_serve(program, listener, announcements, settings)):
        # The thread would hold the interpreter's exit.
        log.error("a prediction did not finish within %d s", DRAIN_SECONDS)
        logging.shutdown()
        os._exit(1)


async def _serve(program: Program, listener: socket.socket, announcements: TextIO, settings: Settings) -> bool:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(program, settings, loop)
    server.start()
    # What was loaded stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    listener.setblocking(False)
    listening = await loop.create_server(lambda: Connection(server), sock=listener, backlog=BACKLOG)
    announcements.write(json.dumps({"event": "ready", "port": listener.getsockname()[1]}) + "\n")
    announcements.flush()
    await stop.wait()
    listening.close()
    await server.drain(DRAIN_SECONDS)
    return server.batcher.close()


def _run_loop(main: Coroutine[Any, Any, bool]) -> bool:
    try:
        import uvloop
    except ImportError:  # Windows: the standard loop is slower and does the same
        return asyncio.run(main)
    loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        result: bool = loop.run_until_complete(main)
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()
