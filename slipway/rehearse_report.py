"""What a rehearsal came to: figures, gates, and how both are shown. Apart so that it can be judged without a play."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from localcloud.traffic.open_loop import Answered, percentile
from slipway.rehearse import Rehearsal, clock_text
from slipway.rehearse_profile import shown

FORMAT = 1
PERCENTILES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
LATE_SECONDS = 0.1
"""That a request may leave late before the client's own share in the figures is told."""


@dataclass(frozen=True)
class Span:
    """A part of the time: before the rollout, during it, after it. Percentiles are of requests that were answered."""

    name: str
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Judged:
    gate: str
    limit: float | bool
    measured: float | bool | None
    passed: bool


def spans(rehearsal: Rehearsal) -> list[Span]:
    speed = rehearsal.plan.speed
    began, settled = rehearsal.began / speed, (rehearsal.settled or float("inf")) / speed
    parts = {
        "before": [one for one in rehearsal.answers if one.at < began],
        "rollout": [one for one in rehearsal.answers if began <= one.at < settled],
        "after": [one for one in rehearsal.answers if one.at >= settled],
        "all": rehearsal.answers,
    }
    return [_span(name, answers) for name, answers in parts.items()]


def _span(name: str, answers: Sequence[Answered]) -> Span:
    times = [one.seconds * 1000 for one in answers if one.good]
    figures = {key: percentile(times, share) for key, share in PERCENTILES.items()}
    rounded = {key: None if value is None else round(value, 3) for key, value in figures.items()}
    return Span(name, len(answers), sum(not one.good for one in answers), **rounded)


def replica_ratio(rehearsal: Rehearsal) -> float | None:
    """Replica-seconds to the oracle's."""
    oracle = rehearsal.oracle_seconds
    return round(rehearsal.replica_seconds / oracle, 3) if oracle > 0 else None


def judge(rehearsal: Rehearsal) -> list[Judged]:
    """The profile's gates: those for a good version, or those for a bad one."""
    gates, whole = rehearsal.plan.profile.gates, spans(rehearsal)[-1]
    percent = 100 * whole.errors / whole.requests if whole.requests else 0.0
    if rehearsal.plan.fault is not None:
        judged = [_at_most("max_bad_error_percent", gates.max_bad_error_percent, round(percent, 3))]
        if gates.must_roll_back:
            back = rehearsal.outcome == "rolled back"
            judged.append(Judged("must_roll_back", True, back, back))
    else:
        judged = [
            _at_most("max_errors", gates.max_errors, whole.errors),
            _at_most("max_error_percent", gates.max_error_percent, round(percent, 3)),
            *(_at_most(name, getattr(gates, name), getattr(whole, name)) for name in PERCENTILES),
            _at_most("max_replica_ratio", gates.max_replica_ratio, replica_ratio(rehearsal)),
        ]
        if gates.must_complete:
            completed = rehearsal.outcome == "completed"
            judged.append(Judged("must_complete", True, completed, completed))
    return [one for one in judged if one is not None]


def _at_most(gate: str, limit: float | None, measured: float | None) -> Judged | None:
    if limit is None:
        return None
    return Judged(gate, limit, measured, measured is not None and measured <= limit)


def failures(rehearsal: Rehearsal) -> list[tuple[int, int, str]]:
    """(how many, status, what was said) of the requests that failed, the most frequent first."""
    counted = Counter((one.status, _first_words(one.said)) for one in rehearsal.answers if not one.good)
    return [(count, status, said) for (status, said), count in counted.most_common(5)]


def _first_words(said: str) -> str:
    import json

    try:
        content = json.loads(said)
    except ValueError:
        content = None
    if isinstance(content, dict):
        said = str(content.get("OriginalMessage") or content.get("Message") or content.get("message") or said)
    # An answer is kept in part, so that it may be no JSON any more; its beginning says what it is.
    return " ".join(said.split())[:120]


def as_json(rehearsal: Rehearsal) -> dict[str, Any]:
    plan = rehearsal.plan
    return {
        "format": FORMAT,
        "endpoint": plan.endpoint,
        "version": plan.fault or "good",
        "speed": plan.speed,
        "profile": shown(plan.profile),
        "policies": rehearsal.policies,
        "capacity": round(rehearsal.capacity, 2),
        "rate_of_100_percent": round(rehearsal.carried, 4),
        "traffic": {
            span.name: {key: value for key, value in asdict(span).items() if key != "name"} for span in spans(rehearsal)
        },
        "failures": [{"count": count, "status": status, "said": said} for count, status, said in failures(rehearsal)],
        "replicas": {
            "seconds": round(rehearsal.replica_seconds, 1),
            "oracle_seconds": round(rehearsal.oracle_seconds, 1),
            "ratio": replica_ratio(rehearsal),
            "most": max((moment.replicas for moment in rehearsal.moments), default=0),
        },
        "scaling": [
            {"at": round(at, 1), "before": before, "after": after, "why": why}
            for at, before, after, why in rehearsal.scaling
        ],
        "rollout": {
            "outcome": rehearsal.outcome,
            "reason": rehearsal.reason,
            "began": round(rehearsal.began, 1),
            "settled": None if rehearsal.settled is None else round(rehearsal.settled, 1),
            "events": [{"at": round(at, 1), "what": what} for at, what in rehearsal.rollout],
        },
        "client_late_ms": round(rehearsal.late * 1000, 1),
        "gates": [asdict(judged) for judged in judge(rehearsal)],
    }


def print_tables(rehearsal: Rehearsal) -> None:
    """For people, on standard output."""
    import shutil
    import sys

    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(width=shutil.get_terminal_size().columns if terminal else 120, highlight=False)

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, box=box.SIMPLE, title_justify="left")
        for number, column in enumerate(columns):
            made.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
        return made

    traffic = table("Traffic", "", "requests", "errors", "p50 ms", "p95 ms", "p99 ms")
    for span in spans(rehearsal):
        figures = (span.p50_ms, span.p95_ms, span.p99_ms)
        times = ["" if value is None else f"{value:.1f}" for value in figures]
        traffic.add_row(span.name, f"{span.requests:,}", f"{span.errors:,}", *times)
    console.print(traffic)
    for count, status, said in failures(rehearsal):
        console.print(escape(f"  {count:,} × {status or 'no answer'}: {said}"))

    ratio = replica_ratio(rehearsal)
    console.print(
        f"\nReplicas: {rehearsal.replica_seconds:,.0f} replica-seconds; the fewest that hold this traffic, at "
        f"{rehearsal.capacity:.0f} requests/s each: {rehearsal.oracle_seconds:,.0f}"
        + (f"; ratio {ratio:.2f}" if ratio is not None else "")
    )
    happened = [(at, f"scaling {before} → {after}: {why}") for at, before, after, why in rehearsal.scaling]
    # What comes after it are the endpoint's states while it is being scaled.
    ended = rehearsal.settled or float("inf")
    happened += [(at, what) for at, what in rehearsal.rollout if rehearsal.began <= at <= ended]
    timeline = Table(title="What happened, by the clock", box=box.SIMPLE, title_justify="left", show_header=False)
    timeline.add_column(no_wrap=True)
    timeline.add_column()
    for at, what in sorted(happened):
        timeline.add_row(clock_text(at), escape(what))
    console.print(timeline)
    kind = f"bad version ({rehearsal.plan.fault})" if rehearsal.plan.fault else "new version"
    console.print(escape(f"The {kind}: {rehearsal.outcome}{f': {rehearsal.reason}' if rehearsal.reason else ''}"))
    if rehearsal.late > LATE_SECONDS:
        console.print(
            f"Requests left up to {rehearsal.late * 1000:.0f} ms late: this machine is busier than the traffic."
        )

    gates = table("Gates", "gate", "limit", "measured", "")
    for judged in judge(rehearsal):
        gates.add_row(judged.gate, _told(judged.limit), _told(judged.measured), "✓" if judged.passed else "✗ missed")
    console.print(gates)


def _told(value: float | bool | None) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}"
