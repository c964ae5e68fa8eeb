import pytest

from infra import alarms
from localcloud.cloudwatch import expressions
from model_build.deployment import RolloutAlarms

MINUTE = 0


def made(kind, *, variants=("AllTraffic",), endpoint_kind="realtime", measured=4.0, **limits):
    return alarms.alarm(
        kind,
        endpoint="news-dev",
        endpoint_kind=endpoint_kind,
        limits=RolloutAlarms(**limits),
        measured_p95_ms=measured,
        variants=variants,
        configuration="news-dev-0a1b2c3",
    )


def judged(alarm, **values):
    """What the alarm's expression comes to, by the local CloudWatch, where each metric has one value in a minute."""
    expression = alarm["metric_queries"][-1]["expression"]
    series = {query["id"]: {} for query in alarm["metric_queries"][:-1]}
    series |= {identifier: {MINUTE: value} for identifier, value in values.items()}
    return expressions.evaluate(expressions.parse(expression), series, [MINUTE]).get(MINUTE)


def rings(alarm, **values):
    value = judged(alarm, **values)
    return value is not None and value > alarm["threshold"]


@pytest.mark.parametrize("kind", ["5xx", "model-errors"])
def test_an_error_alarm_rings_by_the_share_of_the_requests(kind):
    alarm = made(kind, errors_5xx_percent=5, model_errors_percent=5)
    assert judged(alarm, e0=30, n0=100) == 30
    assert rings(alarm, e0=6, n0=100)
    assert not rings(alarm, e0=5, n0=100)


@pytest.mark.parametrize("kind", ["5xx", "model-errors", "latency"])
def test_no_requests_are_no_evidence(kind):
    assert not rings(made(kind))


def test_a_minute_with_errors_and_too_few_requests_is_not_judged():
    assert not rings(made("5xx", min_requests=10), e0=9, n0=9)
    assert rings(made("5xx", min_requests=10), e0=10, n0=10)


def test_a_latency_alarm_rings_in_milliseconds_of_what_sagemaker_measures_in_microseconds():
    alarm = made("latency", latency_p95_ms=200)
    assert judged(alarm, l0=250_000, n0=50) == 250
    assert rings(alarm, l0=250_000, n0=50)
    assert not rings(alarm, l0=150_000, n0=50)
    assert not rings(alarm, l0=250_000, n0=3)


def test_of_several_variants_the_slowest_and_the_errors_of_all_are_judged():
    latency = made("latency", variants=("AllTraffic", "Candidate"), latency_p95_ms=200)
    assert judged(latency, l0=100_000, n0=50, l1=300_000, n1=50) == 300
    errors = made("5xx", variants=("AllTraffic", "Candidate"))
    assert judged(errors, e0=0, n0=90, e1=10, n1=10) == 10


def test_an_async_endpoint_is_judged_by_what_aws_publishes_of_it():
    assert alarms.KINDS["async"] == ("latency", "failures")
    alarm = made("failures", endpoint_kind="async")
    metrics = {query["metric"]["metric_name"] for query in alarm["metric_queries"][:-1]}
    assert metrics == {"InvocationFailures", "InvocationsProcessed"}
    assert rings(alarm, e0=10, n0=10)
    assert not rings(alarm, e0=1, n0=99)
    latency = made("latency", endpoint_kind="async")
    assert {query["metric"]["metric_name"] for query in latency["metric_queries"][:-1]} == {"ModelLatency"}


@pytest.mark.parametrize(("measured", "limit"), [(4.0, 500), (120.0, 1200)])
def test_without_a_limit_latency_is_held_against_what_the_build_measured(measured, limit):
    assert made("latency", measured=measured)["threshold"] == limit


def test_five_variants_fit_into_the_ten_metrics_that_an_alarm_may_have():
    for kind in alarms.KINDS["realtime"]:
        queries = made(kind, variants=("AllTraffic", "B", "C", "D", "E"))["metric_queries"]
        assert len([query for query in queries if "metric" in query]) <= 10
        assert [query["id"] for query in queries if query["return_data"]] == ["judged"]


def test_missing_data_are_good_and_two_of_three_minutes_decide():
    alarm = made("5xx")
    assert (alarm["treat_missing_data"], alarm["datapoints_to_alarm"], alarm["evaluation_periods"]) == (
        "notBreaching",
        2,
        3,
    )
