"""Clients that hold connections and send one byte a second: half of them in their headers, half in their body."""

from __future__ import annotations

import asyncio
import os
import threading
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 60


class SlowClients:
    """So many of them, all connected inside the context. One that the server drops connects again a second later."""

    def __init__(self, port: int, path: str, count: int, core: int) -> None:
        self._port, self._path, self._count, self._core = port, path, count, core
        self.opened = 0
        """Connections open at once, at most."""
        self.dropped = 0
        """Connections that the server ended."""
        self._open = 0
        self._stop = threading.Event()
        self._all_open = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._crowd()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._all_open.wait(PATIENCE_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    async def _crowd(self) -> None:
        os.sched_setaffinity(0, {self._core})  # this thread's
        async with asyncio.TaskGroup() as clients:
            for number in range(self._count):
                clients.create_task(self._client(in_body=number % 2 == 1))
                await asyncio.sleep(0.001)

    async def _client(self, in_body: bool) -> None:
        while not self._stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(1)
                continue
            self._open += 1
            self.opened = max(self.opened, self._open)
            if self._open == self._count:
                self._all_open.set()
            try:
                await self._trickle(reader, writer, in_body)
            except OSError:
                self.dropped += 1
            finally:
                self._open -= 1
                writer.transport.abort()
            await asyncio.sleep(1)

    async def _trickle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, in_body: bool) -> None:
        """Raises ConnectionResetError when the server ends the connection."""
        writer.write(f"POST {self._path} HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\n".encode())
        writer.write(b"Content-Length: 100000\r\n\r\n" if in_body else b"X-Slow: ")
        while not self._stop.is_set():
            writer.write(b" " if in_body else b"x")
            await writer.drain()
            try:
                async with asyncio.timeout(1):
                    while await reader.read(4096):  # an answer, before the server hangs up
                        pass
                raise ConnectionResetError
            except TimeoutError:
                continue
