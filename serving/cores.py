"""How many cores this process may use, and how predictions share them.

Apart because the number of threads follows from it wherever the handler runs, AWS's toolkits included.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


MOST_RUNS = 4
"""Predictions at once, unless told otherwise: each needs memory of its own, and contends for the interpreter."""


def usable_cores() -> int:
    """By affinity, the quota of the container's control group, and `OMP_NUM_THREADS`; at least 1.

    A quota of part of a core counts as the whole one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(_CGROUP)
    if quota is not None:
        cores = min(cores, math.ceil(quota))
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal():
        cores = min(cores, int(wanted))
    return max(1, cores)


def share(cores: int, threads: int, workers: int, *, at_once: bool) -> tuple[int, int]:
    """Threads of one run of the model, and runs at once; 0 leaves the choice.

    Runs side by side answer more requests than one run on all cores. `at_once`: whether the model's code may be called
    while it runs already.
    """
    if not workers:
        workers = min(MOST_RUNS, max(1, cores // max(1, threads))) if at_once else 1
    return threads or max(1, cores // workers), workers


def cgroup_quota(root: Path) -> float | None:
    """Cores that a container's control group grants (version 2 or 1, mounted at `root`); None for no limit."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not limit.isdigit() or not period.isdigit() or int(period) == 0:  # "max", or -1 in version 1
        return None
    return int(limit) / int(period)
