"""Counters and histograms of one server, and their text in the OpenMetrics format (`GET /metrics`).

Written by hand: a request costs a few dictionary operations here, and the format is a dozen lines.
"""

from __future__ import annotations

import bisect
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histogram:
    """Counts of values at most as large as each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def lines(self, name: str) -> Iterator[str]:
        total = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            total += count
            yield f'{name}_bucket{{le="{float(bound):g}"}} {total}'
        yield f'{name}_bucket{{le="+Inf"}} {self.count}'
        yield f"{name}_count {self.count}"
        yield f"{name}_sum {self.sum:.9g}"


class Metrics:
    """What is counted, on the event loop's thread alone."""

    def __init__(self) -> None:
        self.started = time.time()
        self.answers: dict[int, int] = {}
        self.refused: dict[str, int] = {}
        self.request_seconds = Histogram(SECONDS)
        self.batch_seconds = Histogram(SECONDS)
        self.batch_requests = Histogram(SIZES)

    def answered(self, status: int) -> None:
        self.answers[status] = self.answers.get(status, 0) + 1

    def refuse(self, reason: str) -> None:
        """A request or a connection that was turned away: `queue`, `deadline`, `size`, `slow`, `connections`, …"""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def text(self, gauges: Iterable[tuple[str, str, float]]) -> bytes:
        """All of it, with `gauges` of (name, help, value) that only the server knows."""
        lines: list[str] = []

        def head(name: str, kind: str, text: str) -> None:
            lines.extend((f"# TYPE {name} {kind}", f"# HELP {name} {text}"))

        head("slipway_answers", "counter", "Answers to POST /invocations by status.")
        lines.extend(f'slipway_answers_total{{status="{key}"}} {self.answers[key]}' for key in sorted(self.answers))
        head("slipway_refused", "counter", "Requests and connections turned away, by reason.")
        lines.extend(f'slipway_refused_total{{reason="{key}"}} {self.refused[key]}' for key in sorted(self.refused))
        histograms = (
            ("slipway_request_seconds", "From a request's last byte to its answer.", self.request_seconds),
            ("slipway_batch_seconds", "One run of decoding, the model and encoding.", self.batch_seconds),
            ("slipway_batch_requests", "Requests that one run answered.", self.batch_requests),
        )
        for name, text, histogram in histograms:
            head(name, "histogram", text)
            lines.extend(histogram.lines(name))
        process = (
            ("process_start_time_seconds", "Unix time at which the server was ready.", self.started),
            ("process_resident_memory_bytes", "Memory in use.", float(resident_bytes())),
        )
        for name, text, value in (*gauges, *process):
            head(name, "gauge", text)
            lines.append(f"{name} {value:.15g}")
        head("process_cpu_seconds", "counter", "Processor time, user and system.")
        lines.append(f"process_cpu_seconds_total {time.process_time():.6f}")
        return "\n".join([*lines, "# EOF", ""]).encode()


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        with Path("/proc/self/statm").open() as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
