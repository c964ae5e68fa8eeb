"""The clock of what AWS does by itself: metrics, alarms, bake times, cooldowns and scaling follow it, requests do not.

Apart so that all of them run N times faster together, and no module sleeps by the wall's time where AWS would wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from localcloud.errors import LocalCloudError

FASTEST = 1000.0


class Clock:
    """Starts at the wall's time and runs `speed` times as fast. Raises LocalCloudError for a speed out of 1 … 1000."""

    def __init__(self, speed: float = 1.0) -> None:
        if not 1.0 <= speed <= FASTEST:
            raise LocalCloudError(f"a clock runs 1 to {FASTEST:g} times as fast, not {speed:g}; choose another --speed")
        self.speed = speed
        self._origin = time.time()
        self._started = time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch, on this clock."""
        return self._origin + (time.monotonic() - self._started) * self.speed

    def datetime(self) -> datetime:
        """Now, in UTC and without a zone, as moto keeps its times."""
        return naive(self.now())

    async def sleep(self, seconds: float) -> None:
        """Waits `seconds` of this clock."""
        await asyncio.sleep(seconds / self.speed)

    async def every(self, step: int, work: Callable[[float], None]) -> None:
        """Calls `work` with each multiple of `step` seconds when this clock shows it, for ever.

        Where the machine was too busy, the moments that passed meanwhile are made up for, in order.
        """
        moment = self.now() // step * step
        while True:
            moment += step
            while (left := moment - self.now()) > 0:
                await self.sleep(left)
            work(moment)
            await asyncio.sleep(0)


def naive(moment: float) -> datetime:
    """A moment in seconds since the epoch as UTC without a zone."""
    return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)
