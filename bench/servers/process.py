"""A server as processes: started on one core, asked until it answers, weighed, and ended with all that it started."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.servers import SERVERS
from bench.servers.environments import python_of
from bench.servers.launch import JSON, Launch, Model, Unavailable
from bench.servers.ports import free_ports

ROOT = Path(__file__).parents[2]
START_SECONDS = 180
POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Cores:
    """One for the server, another for who asks it."""

    server: int
    client: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """Raises Unavailable on a machine with one core."""
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise Unavailable("this benchmark needs two cores: one for the server, one for its client")
        return cls(*allowed[:2])


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside runs on this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Running:
    """A server that answers."""

    name: str
    variant: str
    launch: Launch
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    first_seconds: float
    """From spawn to the first prediction."""

    @property
    def label(self) -> str:
        return self.name if self.variant in ("default", "plain") else f"{self.name}, {self.variant}"

    def rss_mib(self) -> float:
        """Resident memory of all its processes, each counted in full, MiB."""
        return sum(map(_rss, family(self.process.pid))) / 1024

    def pause(self) -> None:
        """Stops its processes, so that they take nothing from another that is being measured."""
        _signal(family(self.process.pid), signal.SIGSTOP)

    def resume(self) -> None:
        _signal(family(self.process.pid), signal.SIGCONT)

    def ask(self, body: str) -> bytes:
        """The answer to one request. Raises RuntimeError where it is not 200."""
        status, answer = _post(self.port, self.launch.path, body, 60)
        if status != 200:
            raise RuntimeError(f"{self.label} answers {status}: {answer[:300].decode(errors='replace')}")
        return answer


@contextlib.contextmanager
def running(name: str, variant: str, model: Model, core: int) -> Iterator[Running]:
    """Starts a server on a core and waits for its first prediction. Raises Unavailable where there comes none."""
    server = SERVERS[name]
    python = python_of(server)
    folder = Path(tempfile.mkdtemp(prefix=f"slipway-bench-{name}-"))
    process = None
    try:
        (port,) = free_ports(1)
        launch = server.launch(variant, model, python, folder, port)
        log = folder / "output.log"
        cwd = ROOT if name == "slipway" else folder
        with on_core(core), log.open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [str(part) for part in launch.command],
                cwd=cwd,
                env=_clean() | dict(launch.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        _wait(process, launch, port, log, started)
        yield Running(name, variant, launch, port, process, log, time.perf_counter() - started)
    finally:
        if process is not None:
            end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], launch: Launch, port: int, log: Path, started: float) -> None:
    status = 0
    while time.perf_counter() < started + START_SECONDS:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _ = _post(port, launch.path, launch.bodies[0], 30)
            if status == 200:
                return
        if process.poll() is not None:
            raise Unavailable(f"it ended with code {process.returncode}: {_tail(log)}")
        time.sleep(POLL_SECONDS)
    raise Unavailable(f"no answer within {START_SECONDS} s (status {status}): {_tail(log)}")


def _tail(log: Path) -> str:
    return " ".join(log.read_text(errors="replace")[-600:].split())


def _post(port: int, path: str, body: str, timeout: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body.encode(), {"Content-Type": JSON, "Accept": JSON})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _clean() -> dict[str, str]:
    """This process's environment without what would change another program's."""
    foreign = ("PYTHON", "SAGEMAKER_", "TS_", "MMS_", "MLSERVER_", "SLIPWAY_", "BENTOML_", "OMP_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def family(pid: int) -> set[int]:
    """A session leader's processes: its descendants, and those of its session that outlived their parents."""
    parents, found = {}, {pid}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                parents[int(path.name)] = int(fields[1])
                if int(fields[3]) == pid:
                    found.add(int(path.name))
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found & (parents.keys() | {pid})


def _rss(pid: int) -> int:
    """KiB; 0 for one that has gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def end(process: subprocess.Popen[bytes], patience: float = 5.0) -> None:
    """SIGTERM to the process, then SIGKILL to every process of its family that is left."""
    pids = family(process.pid)
    process.terminate()
    _signal(pids, signal.SIGCONT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    _signal(pids | family(process.pid), signal.SIGKILL)
    process.wait()


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Bare:
    """The program `bare.py` on a core: the loop without a server."""

    def __init__(self, model: Model, core: int) -> None:
        program = Path(__file__).parent / "programs" / "bare.py"
        values = {"SLIPWAY_BENCH_MODEL": str(model.artifact), "SLIPWAY_BENCH_BODIES": json.dumps(model.bodies)}
        with on_core(core):
            self.process = subprocess.Popen(
                [sys.executable, str(program)],
                env=_clean() | values | {"PYTHONPATH": str(program.parent)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        if self.process.stdin is None or self.process.stdout is None:
            raise AssertionError("both are pipes")
        self._input, self._output = self.process.stdin, self.process.stdout
        self._line()

    def _line(self) -> str:
        line = self._output.readline()
        if not line:
            raise RuntimeError("the bare loop ended; its error is above")
        return line

    def _do(self, *words: object) -> Any:
        print(*words, file=self._input, flush=True)
        return json.loads(self._line())

    def answers(self) -> list[Any]:
        return list(self._do("answers"))

    def loop(self, seconds: float, batch: int = 1) -> Mapping[str, float]:
        """`rps`, and `p50_us`, `p99_us` of a round (a batch)."""
        result: Mapping[str, float] = self._do("loop", seconds, batch)
        return result

    def run(self, seconds: float) -> Mapping[str, float]:
        """The same of `session.run` alone."""
        result: Mapping[str, float] = self._do("run", seconds)
        return result

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
