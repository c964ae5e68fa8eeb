"""Measures models side by side: each in a fresh process with pinned threads, taking turns.

Turns, since a machine's speed drifts: in every round each model answers the same requests, and a round's figures are of
the same minute. Scores are of one model alone and are kept for it; latencies belong to the set that was timed together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

from model_build import machine
from model_build.errors import UserError
from model_build.metrics import ACCURACY
from model_build.progress import SILENT, Progress
from model_build.spec import Measure

VERSION = 3
"""Raised when measuring changes: it is part of the cache key."""
SLIPWAY = Path(__file__).resolve().parent.parent
"""The folder that `python -m model_build.measure_worker` is found in."""


@dataclass(frozen=True)
class Subject:
    """A model to measure: `onnx` or `litert` with its path as `settings`, or a kind of source with those it gave."""

    label: str
    kind: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Judge:
    """How answers are scored. What is not counted from the outputs needs the task, to make answers of them."""

    metric: str = ACCURACY
    serving: Mapping[str, Any] = field(default_factory=dict)
    """The values of `datasets.serving_values`."""
    root: str = ""
    """Where the paths among them start."""


@dataclass(frozen=True)
class Score:
    value: float
    """0 to 1, higher is better."""
    samples: int
    classes: tuple[tuple[int, int, int], ...] = ()
    """Of each class: how many samples have it, how many answers name it, and how many of those are right."""
    details: Mapping[str, float] = field(default_factory=dict)
    """What else the metric says, by name."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one sample, and the peak memory. `rounds` has (p50, p95) of each round."""

    rounds: tuple[tuple[float, float], ...]
    memory_mb: float
    load_seconds: float
    """Without the time that importing libraries takes."""
    weight_bytes: int
    """Of an ONNX file, or of a module's parameters and buffers."""
    throughput: tuple[float, ...] = ()
    """Samples per second of each round, several clients at once. Empty where it was not measured."""

    @property
    def p50(self) -> float:
        """The median of the rounds' medians: a round that something else disturbed does not move it."""
        return median(p50 for p50, _ in self.rounds)

    @property
    def p95(self) -> float:
        return median(p95 for _, p95 in self.rounds)

    def spread(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest round of each percentile."""
        p50s, p95s = zip(*self.rounds, strict=True)
        return {"p50_ms": (min(p50s), max(p50s)), "p95_ms": (min(p95s), max(p95s))}


def measure(
    subjects: Sequence[Subject],
    data: Path,
    outputs: Sequence[str],
    settings: Measure,
    *,
    time: bool = True,
    clients: int = 0,
    score: Sequence[str] = (),
    judge: Judge = Judge(),  # frozen
    ahead: Ahead | None = None,
    progress: Progress = SILENT,
) -> tuple[dict[str, Latency], dict[str, Score]]:
    """Latency and memory of every subject if `time`, and the score of those named in `score`.

    With `clients`, each round also takes the throughput of so many threads at once. `data` is a folder that `datasets`
    wrote. Processes that were started `ahead` are taken from there. Raises UserError where a model cannot be loaded or
    run.
    """
    wanted = [subject for subject in subjects if time or subject.label in score]
    with ExitStack() as stack:
        # First, so that it ends last: a thread waits for its worker's answer until that worker is ended.
        at_once = ThreadPoolExecutor(max(1, _cores() // settings.threads))
        stack.callback(at_once.shutdown, cancel_futures=True)
        workers = {
            subject.label: stack.enter_context(
                (ahead and ahead.take(subject, settings.threads)) or Worker(subject.label, settings.threads)
            )
            for subject in wanted
        }
        with machine.working(), progress.step(f"start {len(wanted)} processes"):
            load = {
                "outputs": list(outputs),
                "threads": settings.threads,
                "data": str(data),
                "requests": settings.requests,
            }
            loaded = dict(
                zip(
                    workers,
                    at_once.map(
                        lambda subject: workers[subject.label].ask(
                            "load", kind=subject.kind, model=dict(subject.settings), **load
                        ),
                        wanted,
                    ),
                    strict=True,
                )
            )
        latencies = {}
        if time:
            rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
            throughput: dict[str, list[float]] = {name: [] for name in workers}
            with machine.measuring(), progress.step(f"time {settings.rounds} rounds of {settings.requests} requests"):
                for turn in range(settings.rounds):
                    for name in _turned(list(workers), turn):
                        answer = workers[name].ask("time", count=settings.requests)
                        rounds[name].append(percentiles(answer["milliseconds"]))
                        if clients:
                            answer = workers[name].ask("flood", count=settings.requests, clients=clients)
                            throughput[name].append(clients * settings.requests / answer["seconds"])
            latencies = {
                name: Latency(rounds=tuple(rounds[name]), throughput=tuple(throughput[name]), **loaded[name])
                for name in workers
            }
        scores = {}
        if score:
            with machine.working(), progress.step(f"score {len(score)} models"):
                answers = at_once.map(lambda name: workers[name].ask("score", judge=asdict(judge)), score)
                scores = {name: scored(answer) for name, answer in zip(score, answers, strict=True)}
        return latencies, scores


def scored(answer: Mapping[str, Any]) -> Score:
    """A score from its JSON values."""
    classes = tuple((a, b, c) for a, b, c in answer["classes"])
    return Score(answer["value"], answer["samples"], classes, answer["details"])


def _turned(names: list[str], number: int) -> list[str]:
    """The names, beginning with another one in each round, so that none is always the first."""
    start = number % len(names)
    return names[start:] + names[:start]


def percentiles(milliseconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p95, linear between the neighbours."""
    ordered = sorted(milliseconds)

    def at(share: float) -> float:
        position = share * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (position - below)

    return at(0.5), at(0.95)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """A running `measure_worker`. It ends when its standard input closes, so also when this process is killed."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self._scratch = tempfile.TemporaryDirectory(prefix="slipway-")
        self._errors = Path(self._scratch.name) / "stderr"
        pinned = {
            name: str(threads)
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        }
        path = (str(SLIPWAY), os.environ.get("PYTHONPATH"))
        with self._errors.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "model_build.measure_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                encoding="utf-8",
                env={**os.environ, **pinned, "PYTHONPATH": os.pathsep.join(filter(None, path))},
            )

    def ask(self, do: str, **parameters: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: S101  # both are pipes
        try:
            self.process.stdin.write(json.dumps({"do": do, **parameters}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended(do) from None
        line = self.process.stdout.readline()
        if not line:
            raise self._ended(do)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UserError(f"{self.name}: {answer['error']}", answer["next_step"])
        return answer

    def _ended(self, do: str) -> UserError:
        code = self.process.wait()
        lines = [line for line in self._errors.read_text("utf-8", "replace").splitlines() if line.strip()]
        how = f"was killed by signal {-code}" if code < 0 else f"exited {code}"
        hint = "out of memory? free some, or measure fewer candidates" if code == -9 else "mend what it says"
        return UserError(
            f"{self.name}: its process {how} during '{do}': {lines[-1].strip() if lines else 'no output'}", hint
        )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()


class Ahead:
    """Processes that are started before there are models to measure, and import meanwhile what those will run on.

    Each is as fresh as one that is started later: one model runs in it, and nothing else did.
    """

    def __init__(self, kinds: Sequence[str], threads: int) -> None:
        self.threads = threads
        # One after the other: the other cores are for what is waited for.
        self._one = ThreadPoolExecutor(1)
        started = [(kind, Worker(f"a process for {kind}", threads)) for kind in kinds]
        self._ready = [(kind, worker, self._one.submit(_prepare, worker, kind)) for kind, worker in started]

    def take(self, subject: Subject, threads: int) -> Worker | None:
        """A process for the subject, which is the caller's to end; None where there is none for its kind."""
        found = next((one for one in self._ready if one[0] == subject.kind), None)
        if found is None or threads != self.threads:
            return None
        self._ready.remove(found)
        _, worker, prepared = found
        worker.name = subject.label
        wait([prepared])  # what it could not import, loading tells better
        return worker

    def end(self) -> None:
        """Ends those that were not taken."""
        for _, worker, _ in self._ready:
            worker.end()
        self._one.shutdown(cancel_futures=True)


def _prepare(worker: Worker, kind: str) -> None:
    with machine.working():
        worker.ask("prepare", kind=kind)
