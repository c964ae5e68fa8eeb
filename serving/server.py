"""The HTTP side of the container contract: `GET /ping`, `POST /invocations`, limits, errors, draining.

A bare ASGI application: at a few thousand requests a second a framework would cost more than a small model's
inference. One worker thread predicts, so that the event loop stays free to answer pings and to refuse what is too much.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO

import orjson
import uvicorn

from serving.errors import RequestError
from serving.program import Program
from serving.tasks.request import JSON

MAX_BODY = 6 * 1024 * 1024
"""Bytes of a request, SageMaker's limit for real-time endpoints (botocore's `BodyBlob`)."""
MAX_PENDING = 128
"""Requests accepted and not yet answered; more are refused at once instead of waiting past the caller's patience."""
DRAIN_SECONDS = 28
"""SageMaker sends SIGKILL 30 s after SIGTERM."""
KEEP_ALIVE_SECONDS = 75
"""Longer than callers keep idle connections, so that they never send into one that is being closed."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("serving")


class Application:
    """The ASGI application around one loaded program."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self.pending = 0
        self.busy = False

    def _predict(self, body: bytes, content_type: str | None, accept: str | None) -> tuple[bytes, str]:
        self.busy = True
        try:
            return self._program.respond(body, content_type, accept)
        finally:
            self.busy = False

    def close(self) -> bool:
        """Drops what waits for the worker thread. False where the thread is still busy, which nothing can end."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        return not self.busy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/invocations" and method == "POST":
            await self._invoke(scope["headers"], receive, send)
        elif path == "/ping" and method == "GET":
            await _respond(send, 200, b"")
        elif path in ALLOWED:
            allowed = ALLOWED[path]
            message = f"{path} takes {allowed}, not {method}"
            await _fail(send, 405, message, [(b"allow", allowed.encode())])
        else:
            await _fail(send, 404, f"there is no {path}; this server has GET /ping and POST /invocations")

    async def _invoke(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive, send: Send) -> None:
        if self.pending >= MAX_PENDING:
            message = f"{MAX_PENDING} requests are waiting already; try again later"
            await _fail(send, 503, message, [(b"retry-after", b"1"), (b"connection", b"close")])
            return
        self.pending += 1
        try:
            fields = dict(headers)
            body = await _body(fields, receive)
            content_type = _text(fields.get(b"content-type"))
            accept = _text(fields.get(b"accept"))
            loop = asyncio.get_running_loop()
            answer, kind = await loop.run_in_executor(self._worker, self._predict, body, content_type, accept)
        except RequestError as error:
            close = [(b"connection", b"close")] if error.status_code == 413 else []
            await _fail(send, error.status_code, error.message, close)
        except ConnectionResetError:
            log.info("the client left before its request was complete")
        except Exception as error:
            log.exception("a prediction failed")
            await _fail(
                send, 500, f"the prediction failed: {' '.join(str(error).split())[:500] or type(error).__name__}"
            )
        else:
            await _respond(send, 200, answer, kind)
        finally:
            self.pending -= 1


ALLOWED = {"/ping": "GET", "/invocations": "POST"}


def run(program: Program, listener: socket.socket, announcements: TextIO) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what was begun, for at most DRAIN_SECONDS.

    `listener` is bound and not yet listening; once it is, `announcements` gets `{"event": "ready", "port": N}`.
    """
    application = Application(program)
    config = uvicorn.Config(
        application,
        interface="asgi3",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Server(config, announcements)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal again when it has drained; with these handlers that ends as a success.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(sockets=[listener])
    if not application.close():  # the thread would hold the interpreter's exit
        log.error("a prediction did not finish within %d s", DRAIN_SECONDS)
        logging.shutdown()
        os._exit(1)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announcements: TextIO) -> None:
        super().__init__(config)
        self._announcements = announcements

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        port = sockets[0].getsockname()[1] if sockets else self.config.port
        self._announcements.write(json.dumps({"event": "ready", "port": port}) + "\n")
        self._announcements.flush()


async def _body(fields: dict[bytes, bytes], receive: Receive) -> bytes:
    """The whole body, refused as soon as it is known to be too large. Raises RequestError (413)."""
    declared = int(fields.get(b"content-length", b"0"))  # httptools refuses what is not a number
    too_large = RequestError(413, f"the body is larger than {MAX_BODY} bytes (6 MB)")
    if declared > MAX_BODY and b"expect" in fields:
        raise too_large  # the client waits for this before it sends
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        chunk = message.get("body", b"")
        size += len(chunk)
        more = message.get("more_body", False)
        if size <= MAX_BODY and declared <= MAX_BODY:
            chunks.append(chunk)
            continue
        # Closing under a client that still sends would reset the connection and lose the answer: throw away what
        # comes, within reason, before it is given.
        chunks.clear()
        if size > 8 * MAX_BODY:
            raise too_large
    if size > MAX_BODY:
        raise too_large
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


async def _respond(
    send: Send, status: int, body: bytes, kind: str = JSON, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    fields = [(b"content-type", kind.encode("latin-1")), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def _fail(send: Send, status: int, message: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    await _respond(send, status, orjson.dumps({"error": message}), headers=headers)
