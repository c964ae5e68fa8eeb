"""The threads that predict, and the queue before them.

Requests wait only while every thread is busy; what has gathered by then shares the next run (`batch_size`). The event
loop puts jobs in and gets answers back; it never runs a model, so that pings and refusals stay quick.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from serving.batch_size import BatchSize
from serving.program import Answer, Call, Program

_SHARE_OF_OBJECTIVE = 0.1
"""Of the latency objective, that one run may take: a request may wait for one before its own."""
_WORTH_A_THREAD = 0.002
"""Seconds of a run, above which another thread is woken: shorter ones would only contend for the interpreter."""
_SMOOTHING = 0.1


class Job:
    """One request on its way to an answer. The event loop's thread alone calls its methods."""

    __slots__ = ("arrived", "call", "gone")

    def __init__(self) -> None:
        self.gone = False
        """The client has left, or was answered already: not worth a prediction."""

    call: Call
    arrived: float

    def finish(self, result: Answer | Exception) -> None:
        raise NotImplementedError

    def send_part(self, part: bytes, kind: str) -> None:
        """A part of a streamed answer."""
        raise NotImplementedError

    def end_stream(self, error: Exception | None) -> None:
        raise NotImplementedError

    def wait_writable(self) -> None:
        """Called by the predicting thread, after each part of a stream: blocks while the client reads too slowly."""
        raise NotImplementedError


class Batcher:
    """Runs `program` on what is put in, on up to `workers` threads."""

    def __init__(
        self,
        program: Program,
        loop: asyncio.AbstractEventLoop,
        *,
        workers: int,
        max_batch: int,
        objective: float,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.pending = 0
        """Jobs put in and not yet done with."""
        self.pending_bytes = 0
        self.seconds_per_job = 0.0
        """Smoothed; 0 before the first."""
        self._program = program
        self._loop = loop
        self.workers = workers
        self._observe = observe
        self._size = BatchSize(max_batch if program.batches else 1, objective * _SHARE_OF_OBJECTIVE)
        self._waiting: deque[Job] = deque()
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._awake = 0
        self._run_seconds = 0.0
        self._since: dict[int, float] = {}
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"predict-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, job: Job) -> None:
        self.pending += 1
        self.pending_bytes += len(job.call.body)
        self._waiting.append(job)
        if self._awake == 0 or (self._awake < self.workers and self._run_seconds > _WORTH_A_THREAD):
            self._awake += 1
            self._wake.put(True)

    def expected_wait(self) -> float:
        """Seconds until a job put in now would be answered, as things go."""
        return (self.pending + 1) * self.seconds_per_job / max(1, self._awake)

    def longest_run(self) -> float:
        """Seconds that the longest of the current runs has taken so far."""
        now = time.monotonic()
        return max((now - since for since in list(self._since.values())), default=0.0)

    @property
    def batch_limit(self) -> int:
        return self._size.limit

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def close(self) -> bool:
        """Drops what waits and ends the threads. False where one is still busy, which nothing can end."""
        self._closed = True
        self._waiting.clear()
        for _ in self._threads:
            self._wake.put(False)
        for thread in self._threads:
            thread.join(0.2)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, number: int) -> None:
        while self._wake.get():
            resting = False
            while not resting:
                jobs = self._take()
                wanted = [job for job in jobs if not job.gone]
                began = time.monotonic()
                self._since[number] = began
                results = self._program.respond_all([job.call for job in wanted])
                for position, result in enumerate(results):
                    if isinstance(result, tuple) and isinstance(result[0], Iterator):
                        self._stream(wanted[position], result[0], result[1])
                seconds = time.monotonic() - began
                self._since.pop(number, None)
                resting = not self._waiting
                if self._closed:
                    return
                self._loop.call_soon_threadsafe(self._deliver, jobs, wanted, results, seconds, resting)

    def _take(self) -> list[Job]:
        jobs: list[Job] = []
        try:
            for _ in range(self._size.next(len(self._waiting))):
                jobs.append(self._waiting.popleft())
        except IndexError:  # another thread was quicker
            return jobs
        return jobs

    def _deliver(
        self, jobs: list[Job], wanted: list[Job], results: list[Answer | Exception], seconds: float, resting: bool
    ) -> None:
        for job, result in zip(
            wanted, results, strict=True
        ):  # first, so that clients need not wait for the bookkeeping
            if not isinstance(result, tuple) or not isinstance(result[0], Iterator):
                job.finish(result)
        self.pending -= len(jobs)
        self.pending_bytes -= sum(len(job.call.body) for job in jobs)
        if resting:
            if self._waiting:  # put in after the thread had looked
                self._wake.put(True)
            else:
                self._awake -= 1
        if wanted:
            size = len(wanted)
            self._size.note(size, seconds)
            self._run_seconds += _SMOOTHING * (seconds - self._run_seconds)
            each = seconds / size
            self.seconds_per_job += _SMOOTHING * (each - self.seconds_per_job) if self.seconds_per_job else each
            self._observe(size, seconds)

    def _stream(self, job: Job, parts: Iterator[Any], kind: str) -> None:
        """Sends a stream's parts as they come."""
        error: Exception | None = None
        try:
            for part in parts:
                if job.gone or self._closed:
                    break
                content = part.encode() if isinstance(part, str) else bytes(part)
                if content:
                    self._loop.call_soon_threadsafe(job.send_part, content, kind)
                    job.wait_writable()
        except Exception as raised:  # the model's code may raise anything
            error = raised
        finally:
            if close := getattr(parts, "close", None):
                close()
        if not self._closed:
            self._loop.call_soon_threadsafe(job.end_stream, error)
