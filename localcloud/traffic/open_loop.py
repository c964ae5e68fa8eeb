"""An open-loop client: every request leaves at its moment, also where earlier ones have no answer yet.

Its latencies count from when a request should have left, so that a server that stalls cannot hide it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp

TIMEOUT_SECONDS = 30.0
# More under way than this, and the client would measure itself.
MOST_AT_ONCE = 2000


@dataclass(frozen=True)
class Answered:
    """One request: `at` seconds of the wall after the beginning, `seconds` until its answer.

    `status` is 0 where there was none; `said` is then why, else the body of an answer other than 2xx, shortened.
    """

    at: float
    seconds: float
    status: int
    said: str = ""

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


@dataclass
class OpenLoop:
    """Sends one body to one address. `answers` grows while it runs, in the order in which the answers come.

    `late` is the longest that a request left after its moment, in seconds: the client's own fault.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]
    answers: list[Answered] = field(default_factory=list)
    sent: int = 0
    late: float = 0.0
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, moments: Iterable[float], ended: Callable[[], bool]) -> None:
        """Sends at each of `moments` (seconds of the wall from now) until `ended`; waits for every answer."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            began = time.perf_counter()
            for moment in moments:
                while (left := moment - (time.perf_counter() - began)) > 0 and not ended():
                    await asyncio.sleep(min(left, 0.5))
                if ended():
                    break
                self.late = max(self.late, -left)
                self._leave(session, began, moment)
                if left < -0.01:
                    # Behind: answers have to be taken in nevertheless.
                    await asyncio.sleep(0)
            await asyncio.gather(*self._running)

    def _leave(self, session: aiohttp.ClientSession, began: float, moment: float) -> None:
        self.sent += 1
        if len(self._running) >= MOST_AT_ONCE:
            self.answers.append(Answered(moment, 0.0, 0, f"{MOST_AT_ONCE} requests were under way already"))
            return
        task = asyncio.get_running_loop().create_task(self._ask(session, began, moment))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _ask(self, session: aiohttp.ClientSession, began: float, moment: float) -> None:
        status, said = 0, ""
        try:
            async with session.post(self.url, data=self.body, headers=self.headers) as response:
                content = await response.read()
                status = response.status
                if not 200 <= status < 300:
                    said = content[:4000].decode(errors="replace")
        except TimeoutError:
            said = f"no answer within {TIMEOUT_SECONDS:g} s"
        except aiohttp.ClientError as error:
            said = f"{type(error).__name__}: {error}"
        self.answers.append(Answered(moment, time.perf_counter() - began - moment, status, said))


def percentile(seconds: Iterable[float], share: float) -> float | None:
    """The smallest value that at least `share` (0 … 1) of all do not exceed; None of none."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
