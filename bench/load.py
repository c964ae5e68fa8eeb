"""Load on a server: wrk for closed loops, vegeta for open ones, both well kept and far quicker than what they measure.

wrk sends the next request of a connection when the last is answered; vegeta sends at its rate whatever happens.
"""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.servers.launch import JSON, Launch, Unavailable
from bench.servers.process import on_core
from toolchain.engine import cache_directory

VEGETA = "v12.13.0"
TIMEOUT_SECONDS = 30
"""After which a request counts as lost."""


@dataclass(frozen=True)
class Closed:
    """One round of closed-loop load. Latencies in ms."""

    rps: float
    p50: float
    p99: float
    requests: int
    failed: int
    """Answers other than 2xx, and connections that broke or timed out."""
    client: float = 0.0
    """Share of its core that the client used: near 1 it is the client that was measured."""


@dataclass(frozen=True)
class Answer:
    """One request of an open-loop attack; times in seconds, `at` since the attack's first request."""

    at: float
    status: int
    """0 where there was no answer."""
    latency: float


def wrk() -> str:
    """Raises Unavailable."""
    found = shutil.which("wrk")
    if found is None:
        raise Unavailable("wrk is not on PATH (on Debian: apt-get install wrk)")
    return found


def vegeta() -> str:
    """The one on PATH, else one built with Go and kept in the user's cache folder. Raises Unavailable."""
    found = shutil.which("vegeta")
    if found is not None:
        return found
    kept = cache_directory().parent / "tools" / f"vegeta-{VEGETA}"
    if not (kept / "vegeta").is_file():
        go = shutil.which("go")
        if go is None:
            raise Unavailable("neither vegeta nor go is on PATH (on Debian: apt-get install golang-go)")
        print(f"· building vegeta {VEGETA}, in {kept}", file=sys.stderr, flush=True)
        module = f"github.com/tsenart/vegeta/v12@{VEGETA}"
        done = subprocess.run([go, "install", module], env=os.environ | {"GOBIN": str(kept)}, capture_output=True)
        if done.returncode:
            raise Unavailable(f"vegeta cannot be built: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return str(kept / "vegeta")


def closed(launch: Launch, port: int, core: int, connections: int, seconds: float) -> Closed:
    """Load of so many connections from one thread on `core`, the launch's bodies in turn. `seconds` are whole."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script, on_core(core):
        script.write(script_of(launch.bodies))
        script.flush()
        command = [wrk(), "-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s"]
        command += ["--timeout", f"{TIMEOUT_SECONDS}s", "-s", script.name, f"http://127.0.0.1:{port}{launch.path}"]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return replace(parsed(done.stdout), client=used / took)


def script_of(bodies: Iterable[str]) -> str:
    """A wrk script that sends these bodies in turn, and prints its outcome as JSON on the last line."""
    quoted = ",\n".join(f"[==[{body}]==]" for body in bodies)
    return f"""
local bodies = {{
{quoted}
}}
local headers = {{["Content-Type"] = "{JSON}", ["Accept"] = "{JSON}"}}
local requests, turn = {{}}, 0
function init()
  for i, body in ipairs(bodies) do requests[i] = wrk.format("POST", wrk.path, headers, body) end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{{"requests": %d, "microseconds": %d, "p50": %f, "p99": %f, "status": %d, "broken": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


def parsed(output: str) -> Closed:
    """What `script_of`'s script printed."""
    values = json.loads(output.strip().splitlines()[-1])
    good = values["requests"] - values["status"]
    return Closed(
        rps=good / values["microseconds"] * 1e6,
        p50=values["p50"] / 1000,
        p99=values["p99"] / 1000,
        requests=values["requests"],
        failed=values["status"] + values["broken"],
    )


class Flight:
    """An open-loop attack under way; `answers`, ordered by when they were sent, once it is over."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self.answers: list[Answer] = []

    def until_sent(self) -> None:
        """Waits for its last request, not for the answers."""
        time.sleep(max(0.0, self._ends - time.monotonic()))


@contextmanager
def attacking(launch: Launch, port: int, core: int, rate: float, seconds: float) -> Iterator[Flight]:
    """Requests at a constant rate per second from `core`; the context ends when all are answered or have timed out."""
    target = {
        "method": "POST",
        "url": f"http://127.0.0.1:{port}{launch.path}",
        "header": {"Content-Type": [JSON], "Accept": [JSON]},
    }
    targets = "".join(json.dumps(target | {"body": b64encode(body.encode()).decode()}) + "\n" for body in launch.bodies)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        path, results = Path(folder) / "targets", Path(folder) / "results"
        path.write_text(targets)
        command = [vegeta(), "attack", "-format", "json", "-targets", str(path), "-rate", f"{max(1, round(rate))}/1s"]
        command += ["-duration", f"{seconds}s", "-timeout", f"{TIMEOUT_SECONDS}s", "-max-body", "0", "-workers", "64"]
        with on_core(core):
            process = subprocess.Popen([*command, "-output", str(results)])
        try:
            flight = Flight(seconds)
            yield flight
            if code := process.wait():
                raise RuntimeError(f"vegeta ended with code {code}")
            encode = [vegeta(), "encode", "--to", "csv", str(results)]
            flight.answers = answers(subprocess.run(encode, check=True, stdout=subprocess.PIPE, text=True).stdout)
        finally:
            process.kill()
            process.wait()


def answers(rows: str) -> list[Answer]:
    """vegeta's CSV (times in ns: sent at, status, latency, …) as answers."""
    found = [(int(row[0]), int(row[1]), int(row[2])) for row in csv.reader(io.StringIO(rows)) if row]
    first = min((at for at, _, _ in found), default=0)
    return sorted(
        (Answer((at - first) / 1e9, status, latency / 1e9) for at, status, latency in found),
        key=lambda answer: answer.at,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below `share` (0 to 1) of them; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
