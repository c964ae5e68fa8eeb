"""The last minutes of an endpoint's traffic, a step of the wall's time each: what the status page draws."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

STEP_SECONDS = 2
STEPS = 90


@dataclass
class Moment:
    """One step. `seconds` are a sample of model latencies, `shares` requests by endpoint configuration."""

    number: int
    requests: int = 0
    errors: int = 0
    seconds: list[float] = field(default_factory=list)
    shares: dict[str, int] = field(default_factory=dict)


@dataclass
class Traffic:
    _moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=STEPS))

    def add(self, config: str, good: bool, model_seconds: float) -> None:
        number = int(time.monotonic() // STEP_SECONDS)
        if not self._moments or self._moments[-1].number != number:
            self._moments.append(Moment(number))
        now = self._moments[-1]
        now.requests += 1
        now.errors += not good
        now.shares[config] = now.shares.get(config, 0) + 1
        # Enough for a percentile on a page, whatever the load.
        if len(now.seconds) < 500:
            now.seconds.append(model_seconds)

    def shown(self) -> dict[str, Any]:
        """Requests and errors a second, and latency percentiles in milliseconds, oldest first; None: no request."""
        newest = int(time.monotonic() // STEP_SECONDS)
        known = {moment.number: moment for moment in self._moments}
        steps = [known.get(number, Moment(number)) for number in range(newest - STEPS, newest)]
        return {
            "step": STEP_SECONDS,
            "requests": [moment.requests / STEP_SECONDS for moment in steps],
            "errors": [moment.errors / STEP_SECONDS for moment in steps],
            "p50": [_percentile(moment.seconds, 0.5) for moment in steps],
            "p99": [_percentile(moment.seconds, 0.99) for moment in steps],
            "shares": next((moment.shares for moment in reversed(steps) if moment.requests), {}),
        }


def _percentile(seconds: list[float], share: float) -> float | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)
