"""The metric store: periods, percentiles, what is kept how long, and metric math over it."""

from __future__ import annotations

from random import Random

import pytest

from localcloud.cloudwatch import expressions
from localcloud.cloudwatch.expressions import ExpressionError
from localcloud.cloudwatch.queries import Queries, Query, QueryError, Stat
from localcloud.cloudwatch.statistics import Distribution
from localcloud.cloudwatch.store import FINE_SECONDS, KEPT_SECONDS, Metric, MetricStore

LATENCY = Metric.of("AWS/SageMaker", "ModelLatency", {"EndpointName": "e"})


def test_periods_gather_what_fell_into_them() -> None:
    store = MetricStore()
    for moment, value in ((0, 1.0), (59, 3.0), (60, 10.0), (299, 20.0), (300, 99.0)):
        store.put(LATENCY, moment, value)
    minutes = store.read(LATENCY, 0, 300, 60)
    assert [(moment, point.total) for moment, point in minutes] == [(0, 4.0), (60, 10.0), (240, 20.0)]
    ((start, whole),) = store.read(LATENCY, 0, 300, 300)
    assert (start, whole.count, whole.least, whole.most) == (0, 4, 1.0, 20.0)
    assert store.read(Metric.of("other", "ModelLatency", {}), 0, 300, 60) == []


def test_a_period_below_the_metrics_resolution_has_no_data() -> None:
    store = MetricStore()
    store.put(LATENCY, 5, 1.0)
    fine = Metric.of("AWS/SageMaker", "ConcurrentRequestsPerModel", {})
    store.put(fine, 15, 2.0, step=10)
    assert store.read(LATENCY, 0, 60, 10) == []
    assert [moment for moment, _ in store.read(fine, 0, 60, 10)] == [10]


def test_percentiles_are_the_nearest_rank() -> None:
    point = Distribution()
    for value in range(1, 101):
        point.add(float(value))
    assert [point.statistic(name) for name in ("p0", "p50", "p90", "p99", "p100")] == [1, 50, 90, 99, 100]
    assert point.statistic("Average") == 50.5
    with pytest.raises(ValueError, match="no statistic 'tm99'"):
        point.statistic("tm99")


def test_percentiles_of_many_values_stay_within_half_a_percent() -> None:
    random = Random(7)
    values = [random.lognormvariate(8, 1) for _ in range(20_000)]
    point = Distribution()
    for value in values:
        point.add(value)
    assert len(point.values) < 3_000
    for share in (50, 90, 99):
        exact = sorted(values)[round(len(values) * share / 100) - 1]
        assert point.statistic(f"p{share}") == pytest.approx(exact, rel=0.006)


def test_a_statistic_set_has_percentiles_only_where_its_values_are_known() -> None:
    point = Distribution()
    point.add_set(3, 15.0, 5.0, 5.0)
    assert point.statistic("p50") == 5.0
    point.add_set(2, 3.0, 1.0, 2.0)
    assert point.statistic("p50") is None
    assert (point.statistic("Sum"), point.statistic("Minimum")) == (18.0, 1.0)


def test_fine_points_become_minutes_and_old_ones_go() -> None:
    store = MetricStore()
    for moment in range(0, 120, 10):
        store.put(LATENCY, moment, 1.0, step=10)
    store.prune(FINE_SECONDS + 1000)
    assert [(moment, point.count) for moment, point in store.read(LATENCY, 0, 120, 10)] == [(0, 6), (60, 6)]
    store.prune(KEPT_SECONDS + 10_000)
    assert store.metrics() == []


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m1 + m2", {0: 12.0}),
        ("100 * (m1 / m2)", {0: 20.0}),
        ("FILL(m2, 0) + m1", {0: 12.0, 60: 4.0}),
        ("FILL(m2, REPEAT)", {0: 10.0, 60: 10.0}),
        ("IF(m1 > 3, m1, 0)", {0: 0.0, 60: 4.0}),
        ("IF(m1 > 3 AND m1 < 5, 1, 0)", {0: 0.0, 60: 1.0}),
        ("IF(m1 > 3 || m1 <= 2, m1)", {0: 2.0, 60: 4.0}),
        ("SUM([m1, m2])", {0: 12.0, 60: 4.0}),
        ("MAX(METRICS())", {0: 10.0, 60: 4.0}),
        ("AVG(m1)", {0: 3.0, 60: 3.0}),
        ("-m1 ^ 2", {0: -4.0, 60: -16.0}),
        ("m1 / (m2 - 10)", {}),
        ("CEIL(m1 / 3)", {0: 1.0, 60: 2.0}),
    ],
)
def test_metric_math_works_as_cloudwatchs(expression: str, expected: dict[int, float]) -> None:
    series = {"m1": {0: 2.0, 60: 4.0}, "m2": {0: 10.0}}
    assert expressions.evaluate(expressions.parse(expression), series, [0, 60]) == expected


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("m1 +", "not a metric math expression"),
        ("ANOMALY_DETECTION_BAND(m1)", "does not emulate this function"),
        ("__import__('os')", "does not emulate this function|number or an id"),
        ("m1.x", "does not emulate Attribute"),
        ("'text'", "number or an id"),
    ],
)
def test_an_expression_that_is_not_metric_math_is_refused(expression: str, problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem):
        expressions.parse(expression)


def test_queries_may_build_on_each_other_and_not_in_a_circle() -> None:
    store = MetricStore()
    errors = Metric.of("n", "errors", {})
    for minute in range(3):
        store.put(errors, minute * 60, 2.0)
        store.put(LATENCY, minute * 60, 10.0)
    queries = Queries(
        (
            Query("rate", "errors / total"),
            Query("percent", "rate * 100"),
            Query("errors", Stat(errors, 60, "Sum"), returned=False),
            Query("total", Stat(LATENCY, 60, "Sum"), returned=False),
        )
    )
    assert queries.read(store, 0, 180)["percent"] == {0: 20.0, 60: 20.0, 120: 20.0}
    with pytest.raises(QueryError, match="read each other"):
        Queries((Query("a", "b"), Query("b", "a"))).read(store, 0, 60)
    with pytest.raises(QueryError, match="no query has that id"):
        Queries((Query("a", "b + 1"),))
    with pytest.raises(QueryError, match="tm99"):
        Stat(errors, 60, "tm99")
