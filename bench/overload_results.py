"""What an overload did to a server, out of the client's records. Pure arithmetic, tested by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.load import Answer, percentile

REJECTIONS = (429, 503)
IN_TIME = 1.0
"""Seconds within which an answer is of use."""
STEADY = 5
"""Good answers in a row that make a recovery."""


@dataclass(frozen=True)
class Attack:
    """`share` is of `peak`, requests per second without overload; `lost` of all requests; rejections in ms."""

    times: float
    peak: float
    sent: float
    """Requests that were sent, of those that the rate asked for: below 1 the client was too slow."""
    share: float
    rejected: float
    rejection_p50: float
    rejection_p99: float
    lost: float
    """Neither 200 nor a rejection: connections refused, broken or timed out, and other errors."""
    recovery: float
    """Seconds after the last request of the attack until requests are answered as without it."""


def attacked(answers: Sequence[Answer], times: float, peak: float, seconds: float, recovery: float) -> Attack:
    """What the records of an attack of so many seconds say."""
    good = sum(one.status == 200 and one.latency <= IN_TIME and one.at + one.latency <= seconds for one in answers)
    rejections = [one.latency * 1000 for one in answers if one.status in REJECTIONS]
    answered = len(rejections) + sum(one.status == 200 for one in answers)
    return Attack(
        times=times,
        peak=peak,
        sent=sum(one.at <= seconds for one in answers) / (times * peak * seconds),
        share=good / seconds / peak,
        rejected=len(rejections) / len(answers),
        rejection_p50=percentile(rejections, 0.5),
        rejection_p99=percentile(rejections, 0.99),
        lost=1 - answered / len(answers),
        recovery=recovery,
    )


def recovered(probes: Iterable[tuple[float, bool, float]], limit: float) -> float:
    """When the first of STEADY good answers in a row, each within `limit`, was asked for; infinite if there are none.

    A probe is when it was sent, whether it was answered by 200, and its latency, all in seconds.
    """
    row: list[float] = []
    for sent, good, latency in probes:
        row = [*row, sent] if good and latency <= limit else []
        if len(row) == STEADY:
            return row[0]
    return float("inf")
