"""The local AWS in the background: started, found and stopped by its directory.

Which process it is, is never guessed from a process id alone: the server holds a lock in its directory for as long as
it lives, and answers with a nonce that its state file has too.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.errors import LocalCloudError

HOST = "127.0.0.1"
STATE_FILE = "server.json"
KEPT = "state"  # the directory of what the next server brings back
LOCK_FILE = "server.lock"
LOG_FILE = "server.log"
START_SECONDS = 60.0
STOP_SECONDS = 45.0

Progress = Callable[[str], None]

# Servers that this very process started: it is their parent, so it must collect them once they ended.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Server:
    """A running server. `started` is in seconds since the epoch; its clock runs `speed` times as fast as the wall's."""

    pid: int
    port: int
    endpoint: str
    started: float
    log: Path
    speed: float = 1.0


def log_path(directory: Path) -> Path:
    """Where a server in the background writes what it does."""
    return directory / LOG_FILE


def status(directory: Path) -> Server | None:
    """The healthy server of a directory, or None."""
    state = _read_state(directory)
    if state is None or not is_held(directory):
        return None
    health = _health(state["port"])
    if health is None or health.get("nonce") != state["nonce"]:
        return None
    log, speed = log_path(directory), float(state.get("speed", 1.0))
    return Server(state["pid"], state["port"], state["endpoint"], state["started"], log, speed)


def start(
    directory: Path,
    port: int | None = None,
    progress: Progress | None = None,
    arguments: tuple[str, ...] = (),
    speed: float | None = None,
    fresh: bool = False,
) -> Server:
    """Starts the server of a directory, or returns the healthy one that runs there. Raises LocalCloudError.

    `arguments` go to `python -m localcloud` as they are; its clock runs `speed` times as fast (1 if not given). It is
    as the directory's last server was when it ended, unless it is to be `fresh`.
    """
    say = progress or (lambda _: None)
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(directory):
        running = status(directory)
        if running is not None:
            if port not in (None, running.port):
                raise LocalCloudError(
                    f"the local AWS already runs on port {running.port}; to move it to {port}: slipway local stop, "
                    "then start it again"
                )
            if speed not in (None, running.speed):
                raise LocalCloudError(
                    f"the local AWS already runs at speed {running.speed:g}; to run it at {speed:g}: "
                    "slipway local stop, then start it again"
                )
            if fresh:
                raise LocalCloudError(
                    "the local AWS already runs; to begin anew: slipway local stop, then slipway local start --fresh"
                )
            say(f"the local AWS runs already on {running.endpoint}")
            if running.started < _newest_code():
                say("it runs older code than this checkout's; to renew it: slipway local stop, then slipway up")
            return running
        if is_held(directory):
            raise LocalCloudError(
                f"{directory}: a local AWS runs on this directory and does not answer; end it: slipway local stop"
            )
        (directory / STATE_FILE).unlink(missing_ok=True)
        if speed is not None:
            arguments = (*arguments, "--speed", f"{speed:g}")
        if fresh:
            arguments = (*arguments, "--fresh")
        return _launch(directory, port, say, arguments)


def _newest_code() -> float:
    """When the code of the server and its replicas was last changed, seconds since the epoch."""
    checkout = Path(__file__).resolve().parents[1]
    return max(path.stat().st_mtime for room in ("localcloud", "serving") for path in (checkout / room).rglob("*.py"))


def _launch(directory: Path, port: int | None, say: Progress, arguments: tuple[str, ...]) -> Server:
    for pid in [pid for pid, child in _children.items() if child.poll() is not None]:
        del _children[pid]  # it was killed, and nobody stopped it
    say("starting the local AWS")
    command = [sys.executable, "-m", "localcloud", "--data", str(directory), *arguments]
    if port is not None:
        command += ["--port", str(port)]
    log = log_path(directory)
    with log.open("ab") as stream:
        offset = stream.tell()
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    _children[process.pid] = process
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = status(directory)
        if running is not None:
            say(f"the local AWS serves on {running.endpoint}")
            return running
        if process.poll() is not None:
            del _children[process.pid]
            raise LocalCloudError(_start_failure(log, offset, f"ended with exit code {process.returncode}"))
        time.sleep(0.05)
    process.kill()
    _collect(process.pid)
    raise LocalCloudError(_start_failure(log, offset, f"did not answer within {START_SECONDS:g} seconds"))


def _start_failure(log: Path, offset: int, what: str) -> str:
    with log.open("rb") as stream:
        stream.seek(offset)
        lines = stream.read().decode(errors="replace").strip().splitlines()[-10:]
    if lines and lines[-1].startswith("localcloud: "):
        return lines[-1].removeprefix("localcloud: ")
    tail = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
    return f"the local AWS {what}; the last lines of {log}:\n{tail}"


def stop(directory: Path) -> bool:
    """Stops the server of a directory and its replicas, and waits for their end. False where none ran."""
    directory = directory.resolve()
    state = _read_state(directory)
    if not is_held(directory):
        # The state of a server that was killed: its process id may be another's by now.
        (directory / STATE_FILE).unlink(missing_ok=True)
        return False
    if state is None:
        raise LocalCloudError(
            f"{directory}: a local AWS is starting or stopping on this directory; try again in a moment"
        )
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["pid"], number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not is_held(directory):
                (directory / STATE_FILE).unlink(missing_ok=True)
                _collect(state["pid"])
                return True
            time.sleep(0.05)
    raise LocalCloudError(f"the local AWS (process {state['pid']}) does not end; see {log_path(directory)}")


def forget(directory: Path) -> None:
    """Forgets what the directory's last server held. Raises LocalCloudError while one runs there."""
    if not directory.is_dir():
        return
    with hold(directory):
        if (directory / KEPT).exists():
            shutil.rmtree(directory / KEPT)


def _collect(pid: int) -> None:
    child = _children.pop(pid, None)
    if child is not None:
        child.wait()


def is_held(directory: Path) -> bool:
    """Whether a living server holds the directory's lock."""
    try:
        with (directory / LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Holds the directory for the life of this process; the kernel frees it however it ends. Raises LocalCloudError."""
    with (directory / LOCK_FILE).open("a") as lock:
        deadline = time.monotonic() + 1
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # `is_held` of another process tries the lock for an instant.
                if time.monotonic() > deadline:
                    raise LocalCloudError(
                        f"{directory}: another local AWS runs on this directory; stop it first: slipway local stop"
                    ) from None
                time.sleep(0.02)
        yield


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    with (directory / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_state(directory: Path, state: dict[str, Any]) -> None:
    scratch = directory / f"{STATE_FILE}.new"
    scratch.write_text(json.dumps(state, indent=2) + "\n")
    scratch.replace(directory / STATE_FILE)


def _read_state(directory: Path) -> dict[str, Any] | None:
    try:
        state = json.loads((directory / STATE_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    wanted: dict[str, Any] = {"pid": int, "port": int, "endpoint": str, "started": (int, float), "nonce": str}
    if not isinstance(state, dict) or not all(isinstance(state.get(key), kind) for key, kind in wanted.items()):
        return None
    return state


def _health(port: int) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/_slipway/health")
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None
