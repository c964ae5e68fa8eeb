"""Starts what trains a federated source, here or in a federation, and hears from its lines how that goes.

Apart from `federated`, which knows specs and nodes. Lines that the app says begin as `model_build.federated.job` names.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from model_build.errors import UserError
from model_build.federated.job import FAILED, ROUND, VARIABLE, WEIGHTS
from model_build.rounds import named
from model_build.sources import federated_environment

SHOWN = 12
"""Last lines that a message shows where the app itself gave no reason."""
LONGEST_LINE = 1 << 20
COMMAND_SECONDS = 120
"""For a command of Flower's that only asks the SuperLink."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Heard:
    """What the app has said."""

    note: Callable[[str], None]
    rounds: list[dict[str, Any]] = field(default_factory=list)
    failure: UserError | None = None
    last: deque[str] = field(default_factory=lambda: deque(maxlen=SHOWN))
    _pieces: dict[int, bytes] = field(default_factory=dict)
    _whole: tuple[int, str] | None = None

    def line(self, line: str) -> None:
        """Raises UserError where a line of the app's is damaged."""
        try:
            if line.startswith(ROUND):
                self.rounds.append(one := json.loads(line.removeprefix(ROUND)))
                self.note(summary(one))
            elif line.startswith(FAILED):
                self.failure = UserError(**json.loads(line.removeprefix(FAILED)))
            elif line.startswith(WEIGHTS):
                number, count, digest, text = line.removeprefix(WEIGHTS).split()
                self._whole = int(count), digest
                self._pieces[int(number)] = base64.b64decode(text, validate=True)
            elif text := _COLOURS.sub("", line).strip():
                self.last.append(text)
        except (ValueError, TypeError, KeyError, binascii.Error) as error:
            raise UserError(f"the federation's log has a damaged line: {line[:80]}…", "build again") from error

    def weights(self) -> bytes | None:
        """What came through the log, if all of it did. Raises UserError where it is not what was sent."""
        if self._whole is None or set(self._pieces) != set(range(self._whole[0])):
            return None
        content = b"".join(self._pieces[number] for number in sorted(self._pieces))
        if hashlib.sha256(content).hexdigest() != self._whole[1]:
            raise UserError("the weights that the federation's log carried are damaged", "build again")
        return content

    def why(self, what: str) -> UserError:
        """The reason that the app gave, else what it printed last."""
        if self.failure:
            return self.failure
        return UserError(f"{what}; it said last:\n  " + "\n  ".join(self.last or ["nothing"]), "mend that, build again")


def summary(one: Mapping[str, Any]) -> str:
    """A round in one line."""
    said = f"round {one['round']}  {len(one['clients'])} clients"
    if one["failed"]:
        said += ", " + ", ".join(f"{named(failed['client'])} failed" for failed in one["failed"])
    if "score" in one:
        said += f"  held-out loss {one['loss']:.4f}, accuracy {one['score']:.4f}"
    return f"{said}  {one['seconds']:.1f} s"


def environment(scratch: Path) -> dict[str, str]:
    """For Flower's processes: nothing is reported to its makers, and its state is this build's own."""
    paths = (str(federated_environment.CHECKOUT), os.environ.get("PYTHONPATH"))
    return {
        **os.environ,
        "FLWR_HOME": str(scratch / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def simulate(job: Path, scratch: Path, seconds: float, note: Callable[[str], None]) -> Heard:
    """Runs the job with clients of this machine, which write its weights. Raises UserError."""
    command = [str(federated_environment.python()), "-m", "model_build.federated.simulation"]
    heard = Heard(note)
    with _started(command, environment(scratch) | {VARIABLE: str(job)}, scratch, seconds) as (process, lines):
        for line in lines:
            heard.line(line)
        code = process.wait()
    if code != 0 or heard.failure:
        raise heard.why(f"the simulation exited {code}")
    return heard


def submit(
    app: Path, superlink: str, certificate: Path | None, scratch: Path, seconds: float, note: Callable[[str], None]
) -> tuple[Heard, bytes]:
    """Runs the app in the federation of a SuperLink; gives what it said and the safetensors. Raises UserError.

    Without a certificate nothing is encrypted. A run that takes longer than `seconds`, or that the build is interrupted
    in, is stopped.
    """
    python = federated_environment.python()
    flwr = [str(python.with_name("flwr"))]
    around = environment(scratch)
    (scratch / "flwr").mkdir(exist_ok=True)
    trust = f"root-certificates = {json.dumps(str(certificate.resolve()))}" if certificate else "insecure = true"
    connection = f'[superlink]\ndefault = "it"\n\n[superlink.it]\naddress = "{superlink}"\n{trust}\n'
    (scratch / "flwr/config.toml").write_text(connection, encoding="utf-8")
    run = _run_number(_asked([*flwr, "run", str(app), "it", "--format", "json"], around, scratch, superlink))
    note(f"run {run} of {superlink}")
    heard, over = Heard(note), False
    try:
        with _started([*flwr, "log", str(run), "it", "--stream"], around, scratch, seconds) as (process, lines):
            for line in lines:
                heard.line(line)
            process.wait()
        over = heard.weights() is not None or heard.failure is not None
    finally:
        if not over:  # it may have ended too; then there is nothing to stop
            subprocess.run(
                [*flwr, "stop", str(run), "it"], env=around, cwd=scratch, capture_output=True, timeout=COMMAND_SECONDS
            )
    content = heard.weights()
    if content is None or heard.failure:
        raise heard.why(f"run {run} of {superlink} ended without weights")
    return heard, content


def _asked(command: Sequence[str], around: Mapping[str, str], scratch: Path, superlink: str) -> str:
    try:
        ended = subprocess.run(
            command, env=around, cwd=scratch, capture_output=True, text=True, timeout=COMMAND_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{superlink} did not answer within {COMMAND_SECONDS} s", "check source.federated.superlink"
        ) from None
    if ended.returncode != 0 or '"run-id"' not in ended.stdout:
        lines = [line.strip() for line in _COLOURS.sub("", ended.stdout + ended.stderr).splitlines() if line.strip()]
        raise UserError(
            f"{superlink} did not take the app:\n  " + "\n  ".join(lines[-SHOWN:]),
            "check source.federated.superlink and certificate, and that the SuperLink runs",
        )
    return ended.stdout


def _run_number(said: str) -> int:
    found = re.search(r'"run-id":\s*"(\d+)"', said)
    if found is None:
        raise UserError(f"Flower named no run: {said.strip()[-300:]}", "build again")
    return int(found[1])


@contextlib.contextmanager
def _started(
    command: Sequence[str], around: Mapping[str, str], scratch: Path, seconds: float
) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """A process and its lines, standard error among them; it is ended at the deadline, and on the way out."""
    process = subprocess.Popen(
        command,
        env=around,
        cwd=scratch,
        stdin=subprocess.PIPE,  # closed when this process ends, however it does
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    assert process.stdout is not None and process.stdin is not None  # noqa: S101  # asked for above
    try:
        yield process, _lines(process.stdout)
        if late.is_set():
            raise UserError(
                f"the training was not done within {seconds:.0f} s",
                "raise source.federated.round_limit, or see that enough clients are there",
            )
    finally:
        timer.cancel()
        process.stdin.close()
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
        process.stdout.close()


def _lines(stream: IO[str]) -> Iterator[str]:
    while line := stream.readline(LONGEST_LINE):
        yield line.rstrip("\n")
