"""What a replica is under: requests at a time, averaged exactly, and its processor and memory as Linux counts them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


@dataclass
class Load:
    """Measured between two calls of `take_concurrency` (`take_processor`); in the wall's time, as requests are."""

    _area: float = 0.0
    _since: float = field(default_factory=time.monotonic)
    _changed: float = field(default_factory=time.monotonic)
    _processor: tuple[float, float] | None = None

    def change(self, outstanding: int) -> None:
        """To be called before the number of requests under way changes from `outstanding`."""
        now = time.monotonic()
        self._area += outstanding * (now - self._changed)
        self._changed = now

    def take_concurrency(self, outstanding: int) -> float:
        """Mean number of requests under way since the last call."""
        self.change(outstanding)
        elapsed = self._changed - self._since
        mean = self._area / elapsed if elapsed > 0 else float(outstanding)
        self._area, self._since = 0.0, self._changed
        return mean

    def take_processor(self, pid: int) -> float | None:
        """Percent of one core used since the last call (200: two cores); None at the first, or where it ended."""
        used = processor_seconds(pid)
        before, now = self._processor, time.monotonic()
        if used is None:
            return None
        self._processor = (now, used)
        if before is None or now <= before[0]:
            return None
        return max(0.0, 100.0 * (used - before[1]) / (now - before[0]))


def processor_seconds(pid: int) -> float | None:
    """Processor time of a process so far; None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_percent(pid: int) -> float | None:
    """Resident memory of a process in percent of this machine's; None where there is none."""
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return None
    return 100.0 * resident / _machine_bytes()


@cache
def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
