"""What a model costs a month: at least, as expected, and at most, in USD. Arithmetic over plain values.

A month has 730 hours. What is not known is None, with the reason, and never 0: a price that the table lacks, or the
traffic that nobody stated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.prices import RegionPrices
from infra.timetable import Span

HOURS = 730
SECONDS = HOURS * 3600
MINUTES = HOURS * 60
NOT_COUNTED = "request data, instance volumes, logs, metrics and alarms are not counted"


@dataclass(frozen=True)
class Fleet:
    """Instances of one type: how many run, over the time. `target` is invocations a minute that one of them takes."""

    instance: str
    spans: tuple[Span, ...]
    target: float | None = None
    load: float = 1.0
    """Its part of the endpoint's requests."""


@dataclass(frozen=True)
class Serverless:
    """Billed by the second of processing; at most `concurrency` at once."""

    memory_mb: int
    concurrency: int
    provisioned: int = 0


@dataclass(frozen=True)
class Traffic:
    """Requests in an average minute, and seconds that one takes (of serverless endpoints alone)."""

    requests_per_minute: float
    seconds_per_request: float | None = None


@dataclass(frozen=True)
class Hosting:
    """All that a model's cost depends on."""

    parts: tuple[Fleet | Serverless, ...]
    artifact_bytes: int | None
    """None before the build: then its storage, cents a month, is not counted."""
    traffic: Traffic | None = None


@dataclass(frozen=True)
class Cost:
    """USD a month. None is unknown; `reasons` say why, each once."""

    minimum: float | None
    expected: float | None
    maximum: float | None
    reasons: tuple[str, ...] = field(default=())

    @property
    def summary(self) -> dict[str, Any]:
        """For stack outputs and JSON: an unknown figure says so."""
        figures = {"min": self.minimum, "expected": self.expected, "max": self.maximum}
        rounded = {name: "unknown" if usd is None else round(usd, 2) for name, usd in figures.items()}
        return rounded | ({"reasons": list(self.reasons)} if self.reasons else {})


def monthly(hosting: Hosting, prices: RegionPrices, region: str) -> Cost:
    """The cost of one model in a region."""
    costs = [_part(part, hosting.traffic, prices, region) for part in hosting.parts]
    if hosting.artifact_bytes is not None:
        costs.append(_storage(hosting.artifact_bytes, prices, region))
    return total(costs)


def total(costs: Iterable[Cost]) -> Cost:
    """The sum, of which a figure is unknown where one of its parts is."""
    costs = list(costs)
    reasons = tuple(dict.fromkeys(reason for cost in costs for reason in cost.reasons))
    return Cost(
        _sum(cost.minimum for cost in costs),
        _sum(cost.expected for cost in costs),
        _sum(cost.maximum for cost in costs),
        reasons,
    )


def over_budget(cost: Cost, budget: float) -> str | None:
    """Why a model may not be deployed under its budget; None where it may.

    The expected cost counts where the traffic is stated; else the dearest case does, since any traffic may come.
    """
    judged, what = (cost.expected, "expected") if cost.expected is not None else (cost.maximum, "at most")
    if judged is None:
        why = "; ".join(cost.reasons)
        return f"the budget is {dollars(budget)} a month, and what the model costs is unknown ({why})"
    if judged <= budget:
        return None
    return (
        f"costs {dollars(judged)} a month {what} (min {dollars(cost.minimum)}, expected {dollars(cost.expected)}, "
        f"max {dollars(cost.maximum)}), over the budget of {dollars(budget)}"
    )


def dollars(usd: float | None) -> str:
    return "unknown" if usd is None else f"${usd:,.2f}"


def _part(part: Fleet | Serverless, traffic: Traffic | None, prices: RegionPrices, region: str) -> Cost:
    if isinstance(part, Serverless):
        return _serverless(part, traffic, prices, region)
    return _fleet(part, traffic, prices, region)


def _fleet(fleet: Fleet, traffic: Traffic | None, prices: RegionPrices, region: str) -> Cost:
    price = prices.of("instances", fleet.instance)
    if price is None:
        return _unknown(f"no price of {fleet.instance} in {region}; run: slipway prices refresh --region {region}")
    low = sum(span.share * span.min for span in fleet.spans) * HOURS * price
    high = sum(span.share * span.max for span in fleet.spans) * HOURS * price
    if all(span.min == span.max for span in fleet.spans):
        return Cost(low, low, high)
    if traffic is None:
        return Cost(low, None, high, ("the traffic is not stated: give deploy.traffic",))
    if fleet.target is None:
        return Cost(low, None, high, ("how many requests one instance takes is not stated in invocations a minute",))
    wanted = math.ceil(traffic.requests_per_minute * fleet.load / fleet.target)
    expected = sum(span.share * min(max(wanted, span.min), span.max) for span in fleet.spans) * HOURS * price
    return Cost(low, expected, high)


def _serverless(part: Serverless, traffic: Traffic | None, prices: RegionPrices, region: str) -> Cost:
    price = prices.of("serverless_seconds", str(part.memory_mb))
    if price is None:
        return _unknown(
            f"no price of serverless inference with {part.memory_mb} MiB in {region}; "
            f"run: slipway prices refresh --region {region}"
        )
    if part.provisioned:
        return _unknown("the price of provisioned concurrency is not in the table")
    high = part.concurrency * SECONDS * price
    if traffic is None:
        return Cost(0.0, None, high, ("the traffic is not stated: give deploy.traffic",))
    if traffic.seconds_per_request is None:
        return Cost(0.0, None, high, ("how long a request takes is not stated: give deploy.traffic.seconds",))
    return Cost(0.0, min(traffic.requests_per_minute * MINUTES * traffic.seconds_per_request * price, high), high)


def _storage(artifact_bytes: int, prices: RegionPrices, region: str) -> Cost:
    price = prices.of("storage_months", "s3")
    if price is None:
        return _unknown(f"no price of S3 storage in {region}; run: slipway prices refresh --region {region}")
    usd = artifact_bytes / 1e9 * price
    return Cost(usd, usd, usd)


def _unknown(reason: str) -> Cost:
    return Cost(None, None, None, (reason,))


def _sum(figures: Iterable[float | None]) -> float | None:
    known = list(figures)
    return None if any(usd is None for usd in known) else math.fsum(usd for usd in known if usd is not None)


def as_json(costs: Mapping[str, Cost]) -> dict[str, Any]:
    """What `slipway cost --json` and the stack output have in common."""
    return {
        "currency": "USD",
        "hours": HOURS,
        "models": {name: cost.summary for name, cost in costs.items()},
        "total": total(costs.values()).summary,
    }
