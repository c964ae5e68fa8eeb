"""Alarms that live: every alarm that moto keeps is judged on this clock, and what its change of state asks for is done.

Apart from the protocol side (`service.py`), which only reads and writes what is kept here.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from localcloud import emulation
from localcloud.clock import Clock, naive
from localcloud.cloudwatch.alarms import Rule, Verdict, judge
from localcloud.cloudwatch.queries import Queries, Query, Stat, only_returned
from localcloud.cloudwatch.store import Metric, MetricStore

log = logging.getLogger(__name__)

TICK_SECONDS = 10
HISTORY_LENGTH = 10_000


@dataclass(frozen=True)
class Change:
    """An alarm's change of state. `moment` is on the clock; `actions` are the ARNs that the alarm has for its state."""

    region: str
    alarm: str
    old: str
    new: str
    reason: str
    moment: float
    actions: tuple[str, ...]


@dataclass
class Watch:
    """The metrics and alarms of every region."""

    clock: Clock
    listeners: list[Callable[[Change], None]] = field(default_factory=list)
    _stores: dict[str, MetricStore] = field(default_factory=dict)
    _history: dict[str, deque[Change]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def store(self, region: str) -> MetricStore:
        found = self._stores.get(region)
        if found is None:
            with self._lock:
                found = self._stores.setdefault(region, MetricStore())
        return found

    def history(self, region: str) -> list[Change]:
        """The region's changes of state, oldest first."""
        return list(self._history.get(region, ()))

    def tick(self, moment: float) -> None:
        """Judges the alarms whose period ended; to be called with every multiple of ten seconds."""
        for region, alarm in emulation.alarms():
            # CloudWatch looks at alarms of less than a minute every ten seconds, at the others every minute.
            if moment % 60 == 0 or alarm.fine:
                verdict = self.judge(region, alarm, moment)
                if verdict is not None:
                    self.enter(region, alarm, verdict.state, verdict.reason, reason_data(alarm, verdict, moment))
        for store in list(self._stores.values()):
            store.prune(moment)

    def judge(self, region: str, alarm: Watched, moment: float) -> Verdict | None:
        return judge(alarm.rule, self.points(region, alarm, moment), alarm.state)

    def points(self, region: str, alarm: Watched, moment: float) -> list[tuple[int, float] | None]:
        """The alarm's last periods that ended by `moment`, oldest first; None where there are no data."""
        period = alarm.queries.period
        step = TICK_SECONDS if period < 60 else 60
        end = moment // step * step
        start = end - alarm.rule.range * period
        watched = only_returned(alarm.queries.queries).id
        values = alarm.queries.read(self.store(region), start, end, aligned=False)[watched]
        moments = [int(start + index * period) for index in range(alarm.rule.range)]
        return [(at, values[at]) if at in values else None for at in moments]

    def enter(self, region: str, alarm: Watched, state: str, reason: str, data: str) -> None:
        """Notes what an alarm came to; a new state is told to the alarm's topics and to the listeners."""
        old = alarm.state
        now = self.clock.now()
        if state == old:
            if state == "ALARM":
                alarm.note(reason, data)
            return
        alarm.enter(state, reason, data, naive(now))
        change = Change(region, alarm.name, old, state, reason, now, alarm.actions(state))
        self._history.setdefault(region, deque(maxlen=HISTORY_LENGTH)).append(change)
        log.info("alarm %s: %s -> %s (%s)", alarm.name, old, state, reason)
        for topic in change.actions:
            if ":sns:" in topic:
                emulation.publish(region, topic, f'{state}: "{alarm.name}"', json.dumps(_message(change)))
        for listener in self.listeners:
            listener(change)

    def alarm(self, region: str, name: str) -> Watched | None:
        return next((alarm for _, alarm in emulation.alarms(region) if alarm.name == name), None)

    def rang(self, region: str, name: str, since: float) -> str | None:
        """Why an alarm is in ALARM, or was at any time since a moment of the clock; None where it was not."""
        alarm = self.alarm(region, name)
        if alarm is not None and alarm.state == "ALARM":
            return alarm.reason
        for change in reversed(self._history.get(region, ())):
            if change.moment < since:
                return None
            if change.alarm == name and change.new == "ALARM":
                return change.reason
        return None


class Watched:
    """One of moto's metric alarms, with what is needed to judge it. Raises QueryError for what cannot be judged."""

    def __init__(self, kept: Any) -> None:
        self._kept = kept
        self.name: str = kept.name
        self.queries = _queries(kept)
        self.rule = Rule(
            comparison=kept.comparison_operator,
            threshold=float(kept.threshold),
            periods=int(kept.evaluation_periods),
            datapoints=int(kept.datapoints_to_alarm or kept.evaluation_periods),
            missing=kept.treat_missing_data or "missing",
        )
        only_returned(self.queries.queries)

    @property
    def arn(self) -> str:
        return str(self._kept.alarm_arn)

    @property
    def fine(self) -> bool:
        return self.queries.period < 60

    @property
    def state(self) -> Any:
        return self._kept.state_value

    @property
    def reason(self) -> str:
        return str(self._kept.state_reason)

    def actions(self, state: str) -> tuple[str, ...]:
        if not self._kept.actions_enabled:
            return ()
        named = {"ALARM": "alarm_actions", "OK": "ok_actions", "INSUFFICIENT_DATA": "insufficient_data_actions"}
        return tuple(getattr(self._kept, named[state]) or ())

    def note(self, reason: str, data: str) -> None:
        self._kept.state_reason, self._kept.state_reason_data = reason, data

    def enter(self, state: str, reason: str, data: str, moment: Any) -> None:
        self._kept.update_state(reason, data, state)
        self._kept.state_updated_timestamp = moment
        self._kept.state_transitioned_timestamp = moment


def _queries(kept: Any) -> Queries:
    if kept.metric_data_queries:
        return Queries(tuple(_query(query) for query in kept.metric_data_queries))
    metric = Metric.of(kept.namespace, kept.metric_name, {one.name: one.value for one in kept.dimensions})
    statistic = kept.statistic or kept.extended_statistic
    return Queries((Query("metric", Stat(metric, int(kept.period), statistic, kept.unit)),))


def _query(query: Any) -> Query:
    returned = query.return_data is None or str(query.return_data).lower() == "true"
    if query.metric_stat is None:
        return Query(query.id, query.expression, query.label, returned)
    stat = query.metric_stat
    dimensions = {one.name: one.value for one in stat.metric.dimensions}
    metric = Metric.of(stat.metric.namespace, stat.metric.metric_name, dimensions)
    return Query(query.id, Stat(metric, int(stat.period), stat.stat, stat.unit), query.label, returned)


def reason_data(alarm: Watched, verdict: Verdict, moment: float) -> str:
    """StateReasonData, in CloudWatch's shape."""
    data = {
        "version": "1.0",
        "queryDate": naive(moment).isoformat(timespec="milliseconds") + "+0000",
        "period": alarm.queries.period,
        "recentDatapoints": [value for _, value in reversed(verdict.values)],
        "threshold": alarm.rule.threshold,
        "evaluatedDatapoints": [
            {"timestamp": naive(at).isoformat(timespec="milliseconds") + "+0000", "value": value}
            for at, value in verdict.values
        ],
    }
    return json.dumps(data)


def _message(change: Change) -> dict[str, str]:
    return {
        "AlarmName": change.alarm,
        "AWSAccountId": emulation.ACCOUNT,
        "Region": change.region,
        "NewStateValue": change.new,
        "NewStateReason": change.reason,
        "OldStateValue": change.old,
        "StateChangeTime": naive(change.moment).isoformat(timespec="milliseconds") + "+0000",
    }
