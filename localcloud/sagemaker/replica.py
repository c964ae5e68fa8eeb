"""One replica: a `serving` process on a model's directory, from its start to its last log line.

Apart because it is the one place that starts and ends processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp

from localcloud.sagemaker.load import Load

log = logging.getLogger(__name__)

State = Literal["Starting", "Healthy", "Draining", "Stopped"]

# AWS: SIGTERM, then SIGKILL after 30 seconds.
STOP_GRACE_SECONDS = 30.0
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")
_THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class StartupError(Exception):
    """A replica that did not become healthy; the message is the reason, in the program's own words where it has any."""


@dataclass(frozen=True)
class Program:
    """How a replica is started: `command --model-dir … --host … --port … --exit-with-parent`."""

    command: tuple[str, ...]
    threads: int

    @classmethod
    def serving(cls) -> Program:
        # Two replicas side by side, or a replica and its client, share a small machine without crowding it.
        return cls((sys.executable, "-m", "serving"), max(1, (os.cpu_count() or 1) // 2))

    def environment(self, container: Mapping[str, str]) -> dict[str, str]:
        """What the process sees: little of this machine, nothing of the user's secrets, then the container's own."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        limits = dict.fromkeys(_THREAD_LIMITS, str(self.threads))
        project = str(Path(__file__).resolve().parents[2])
        return {**inherited, **limits, "PYTHONPATH": project, "PYTHONUNBUFFERED": "1", **container}


class Replica:
    """A process that serves one model on a loopback port of its own."""

    def __init__(self, program: Program, model: Path, environment: Mapping[str, str], logs: Path, variant: str) -> None:
        self.id = f"i-{secrets.token_hex(8)}"
        self.log = logs / f"{variant}-{self.id}.log"
        self.state: State = "Starting"
        self.port = 0
        self.outstanding = 0
        # How many requests it answered, in any way: one that answers is alive, however long its /ping takes.
        self.answered = 0
        self.load = Load()
        # What a serverless worker may use of memory; None for as much as the machine has.
        self.memory_mb: int | None = None
        self._program = program
        self._model = model
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._port_known: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, session: aiohttp.ClientSession, timeout: float) -> None:
        """Returns once `/ping` answers 200. Raises StartupError, with the process stopped."""
        try:
            async with asyncio.timeout(timeout):
                await self._spawn()
                await self._wait_healthy(session)
        except TimeoutError:
            await self.stop(grace=1)
            tail = self.last_line()
            raise StartupError(
                f"it did not answer /ping with 200 within {timeout:g} seconds" + (f": {tail}" if tail else "")
            ) from None
        except BaseException:
            await self.stop(grace=1)
            raise
        self.state = "Healthy"

    async def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        arguments = ("--model-dir", str(self._model), "--host", "127.0.0.1", "--port", "0", "--exit-with-parent")
        try:
            with self.log.open("ab") as stream:
                # The pipe on stdin is what tells the process that this server is gone, kill -9 included.
                self._process = await asyncio.create_subprocess_exec(
                    *self._program.command,
                    *arguments,
                    cwd=self.log.parent,
                    env=self._program.environment(self._environment),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=stream,
                    start_new_session=True,
                )
        except OSError as error:
            raise StartupError(f"its program could not be started: {error}") from None
        if self.memory_mb is not None:
            limit_memory(self._process.pid, self.memory_mb)
        if self._process.stdout is not None:
            self._reader = asyncio.create_task(self._read_output(self._process.stdout))

    async def _read_output(self, output: asyncio.StreamReader) -> None:
        """Finds the port among the lines on stdout; every other line goes to the log."""
        buffered = b""
        while chunk := await output.read(65536):
            *lines, buffered = (buffered + chunk).split(b"\n")
            others = [line for line in lines if not self._take_event(line)]
            if others:
                with self.log.open("ab") as stream:
                    stream.write(b"\n".join(others) + b"\n")

    def _take_event(self, line: bytes) -> bool:
        if not line.startswith(b"{"):
            return False
        try:
            event = json.loads(line)
            port = event["port"] if event["event"] == "ready" else None
        except (ValueError, KeyError, TypeError):
            return False
        if isinstance(port, int) and not self._port_known.done():
            self._port_known.set_result(port)
        return True

    async def _wait_healthy(self, session: aiohttp.ClientSession) -> None:
        exit_ = asyncio.ensure_future(self.wait_exit())
        try:
            await asyncio.wait({exit_, self._port_known}, return_when=asyncio.FIRST_COMPLETED)
            delay = 0.02
            while not exit_.done():
                self.port = self._port_known.result()
                if await self.ping(session):
                    return
                await asyncio.wait({exit_}, timeout=delay)
                delay = min(1.0, delay * 2)
            raise StartupError(self._why_ended(exit_.result()))
        finally:
            exit_.cancel()

    def _why_ended(self, code: int) -> str:
        said = self.last_line()
        if code >= 0:
            return said or f"it ended with exit code {code} and wrote nothing to its log"
        name = {one.value: one.name for one in signal.Signals}.get(-code, f"signal {-code}")
        hint = ", as Linux kills where memory is short" if name == "SIGKILL" else ""
        return f"it was killed by {name}{hint}" + (f"; its last line: {said}" if said else "")

    async def ping(self, session: aiohttp.ClientSession) -> bool:
        """Whether it says in time that it is well."""
        try:
            # AWS gives a ping two seconds.
            async with session.get(f"{self.address}/ping", timeout=aiohttp.ClientTimeout(total=2)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def wait_exit(self) -> int:
        if self._process is None:
            raise RuntimeError("the replica was never started")
        return await self._process.wait()

    def begin_request(self) -> None:
        self.load.change(self.outstanding)
        self.outstanding += 1
        self._idle.clear()

    def end_request(self) -> None:
        self.load.change(self.outstanding)
        self.outstanding -= 1
        if self.outstanding == 0:
            self._idle.set()

    async def drain(self, timeout: float) -> None:
        """Waits until no request is under way; the caller sends no new ones."""
        self.state = "Draining"
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%s: %d requests were still under way after %g s", self.id, self.outstanding, timeout)

    async def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """SIGTERM, then SIGKILL to all that it started. Returns when the process is gone."""
        self.state = "Stopped"
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(grace):
                    await process.wait()
            except TimeoutError:
                _kill_group(process.pid)
                await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        if self._reader is not None:
            # A grandchild may hold the pipe open; what it still writes is not waited for.
            await asyncio.wait({self._reader}, timeout=1)
            self._reader.cancel()

    def kill(self) -> None:
        """SIGKILL to all that it started; its end is noticed as any other is."""
        if self._process is not None and self._process.returncode is None:
            _kill_group(self._process.pid)

    def last_line(self) -> str:
        """The last line of the log that says anything; "" where there is none."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(0, self.log.stat().st_size - 8192))
                lines = stream.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def limit_memory(pid: int, megabytes: int) -> None:
    """Limits what a process can allocate; past it, allocations fail in the process itself."""
    limit = megabytes * 1024 * 1024
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))


def _kill_group(pid: int) -> None:
    # Its own session, so the group is the replica and its children, and nothing else.
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
