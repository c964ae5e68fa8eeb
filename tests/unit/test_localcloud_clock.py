from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from localcloud.clock import Clock
from localcloud.errors import LocalCloudError


def test_a_clock_starts_at_the_walls_time_and_runs_as_fast_as_it_is_told() -> None:
    clock = Clock(1000.0)
    assert clock.now() - time.time() < 1000
    before, real = clock.now(), time.monotonic()
    asyncio.run(clock.sleep(50))
    passed, waited = clock.now() - before, time.monotonic() - real
    assert passed >= 50
    assert passed <= waited * 1000 + 1


@pytest.mark.parametrize("speed", [0.0, 0.5, -1.0, 1001.0])
def test_a_speed_that_no_clock_has_is_refused_with_the_next_step(speed: float) -> None:
    with pytest.raises(LocalCloudError, match="choose another --speed"):
        Clock(speed)


def test_work_is_done_at_every_multiple_and_what_was_missed_is_made_up_for() -> None:
    clock = Clock(1000.0)
    moments: list[float] = []

    def work(moment: float) -> None:
        if not moments:
            time.sleep(0.05)  # five steps go by
        moments.append(moment)

    async def run() -> None:
        task = asyncio.create_task(clock.every(10, work))
        while len(moments) < 8:
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(run())
    assert [moment % 10 for moment in moments] == [0] * len(moments)
    assert [later - earlier for earlier, later in itertools.pairwise(moments)] == [10] * (len(moments) - 1)
