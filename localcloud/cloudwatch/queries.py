"""Reading metrics as alarms and GetMetricData ask for them: a statistic a period, or metric math over several."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localcloud.cloudwatch import expressions
from localcloud.cloudwatch.expressions import ExpressionError, Series
from localcloud.cloudwatch.statistics import is_statistic
from localcloud.cloudwatch.store import Metric, MetricStore


class QueryError(Exception):
    """A question that cannot be answered; the message says what is wrong with it."""


@dataclass(frozen=True)
class Stat:
    """One statistic of one metric."""

    metric: Metric
    period: int
    statistic: str
    unit: str | None = None

    def __post_init__(self) -> None:
        if not is_statistic(self.statistic):
            raise QueryError(
                f"The local AWS does not emulate the statistic {self.statistic}; it has SampleCount, Average, Sum, "
                "Minimum, Maximum and percentiles (p50, p99.9)."
            )
        if self.period not in (1, 5, 10, 20, 30) and (self.period <= 0 or self.period % 60):
            raise QueryError(f"The Period must be 1, 5, 10, 20, 30 or a multiple of 60 seconds, not {self.period}.")

    def read(self, store: MetricStore, start: float, end: float) -> Series:
        values = {
            moment: point.statistic(self.statistic)
            for moment, point in store.read(self.metric, start, end, self.period, self.unit)
        }
        return {moment: value for moment, value in values.items() if value is not None}


@dataclass(frozen=True)
class Query:
    """One `MetricDataQuery`: a statistic or an expression over the other ones."""

    id: str
    source: Stat | str
    label: str | None = None
    returned: bool = True


@dataclass(frozen=True)
class Queries:
    """Queries that may build on each other. Raises QueryError for an unknown id, a cycle, or what is not emulated."""

    queries: tuple[Query, ...]

    def __post_init__(self) -> None:
        known = {query.id for query in self.queries}
        if len(known) < len(self.queries):
            raise QueryError("The ids of metric data queries must be unique.")
        for query in self.queries:
            if isinstance(query.source, str):
                missing = sorted(expressions_names(query.source) - known)
                if missing:
                    raise QueryError(f"The expression of '{query.id}' reads '{missing[0]}', and no query has that id.")

    @property
    def period(self) -> int:
        """The longest period: what expressions are evaluated at."""
        return max((query.source.period for query in self.queries if isinstance(query.source, Stat)), default=60)

    def read(self, store: MetricStore, start: float, end: float, *, aligned: bool = True) -> Mapping[str, Series]:
        """Every query's values. `aligned` moves the start back to a multiple of each period."""
        found: dict[str, Series] = {}
        for query in self.queries:
            if isinstance(query.source, Stat):
                begin = start // query.source.period * query.source.period if aligned else start
                found[query.id] = query.source.read(store, begin, end)
        metrics = dict(found)
        first = int(start // self.period * self.period if aligned else start)
        moments = list(range(first, int(end), self.period))
        waiting = [query for query in self.queries if isinstance(query.source, str)]
        while waiting:
            ready = [query for query in waiting if expressions_names(str(query.source)) <= found.keys()]
            if not ready:
                raise QueryError(f"The expressions of {', '.join(query.id for query in waiting)} read each other.")
            for query in ready:
                tree = _parsed(str(query.source))
                reads_all = "METRICS" in str(query.source)
                try:
                    found[query.id] = expressions.evaluate(tree, metrics if reads_all else found, moments)
                except ExpressionError as error:
                    raise QueryError(str(error)) from None
                waiting.remove(query)
        return found


def expressions_names(expression: str) -> set[str]:
    """The ids that an expression reads. Raises QueryError."""
    return expressions.names(_parsed(expression))


def _parsed(expression: str) -> ast.expr:
    try:
        return expressions.parse(expression)
    except ExpressionError as error:
        raise QueryError(str(error)) from None


def only_returned(queries: Sequence[Query]) -> Query:
    """The one query that an alarm watches. Raises QueryError."""
    returned = [query for query in queries if query.returned]
    if len(returned) != 1:
        raise QueryError(f"Exactly one metric of an alarm has ReturnData true; here {len(returned)} have.")
    return returned[0]
