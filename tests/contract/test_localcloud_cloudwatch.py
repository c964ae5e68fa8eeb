"""CloudWatch as plain boto3 sees it, on a clock of sixty times the wall's: a minute of an alarm takes a second."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from localcloud_rig import FAKE, Cloud, fake_model, running
from processes import wait_for

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("localcloud"), (*FAKE, "--speed", "60")) as cloud:
        yield cloud


def now(cloud: Cloud) -> datetime:
    with urllib.request.urlopen(f"{cloud.server.endpoint}/_slipway/status") as answer:
        return datetime.fromtimestamp(json.load(answer)["server"]["clock"], UTC)


def variant(endpoint: str) -> list[dict[str, str]]:
    return [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}]


def state(watch: Any, name: str) -> dict[str, Any]:
    (alarm,) = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return dict(alarm)


def test_the_servers_clock_runs_as_fast_as_it_was_told(cloud: Cloud) -> None:
    assert cloud.server.speed == 60
    real = time.monotonic()
    before = now(cloud)
    time.sleep(0.5)
    passed = (now(cloud) - before).total_seconds()
    assert 30 <= passed <= (time.monotonic() - real) * 60 + 1


def test_percentiles_come_out_of_statistics_and_of_metric_data(cloud: Cloud) -> None:
    watch = cloud.client("cloudwatch")
    moment = now(cloud) - timedelta(minutes=5)
    watch.put_metric_data(
        Namespace="own",
        MetricData=[{"MetricName": "latency", "Timestamp": moment, "Values": [float(n) for n in range(1, 101)]}],
    )
    span = {"StartTime": moment - timedelta(minutes=2), "EndTime": moment + timedelta(minutes=2)}
    (point,) = watch.get_metric_statistics(
        Namespace="own",
        MetricName="latency",
        Period=60,
        Statistics=["Average", "SampleCount"],
        ExtendedStatistics=["p50", "p99"],
        **span,
    )["Datapoints"]
    assert (point["Average"], point["SampleCount"]) == (50.5, 100)
    assert point["ExtendedStatistics"] == {"p50": 50.0, "p99": 99.0}
    stat = {"Metric": {"Namespace": "own", "MetricName": "latency"}, "Period": 60}
    answer = watch.get_metric_data(
        MetricDataQueries=[
            {"Id": "p90", "MetricStat": {**stat, "Stat": "p90"}},
            {"Id": "total", "MetricStat": {**stat, "Stat": "Sum"}, "ReturnData": False},
            {"Id": "half", "Expression": "total / 2", "Label": "half of it"},
        ],
        **span,
    )["MetricDataResults"]
    assert [(one["Id"], one["Values"]) for one in answer] == [("p90", [90.0]), ("half", [2525.0])]
    assert answer[1]["Label"] == "half of it"
    assert answer[0]["Timestamps"][0].second == 0
    names = {one["MetricName"] for one in watch.list_metrics(Namespace="own")["Metrics"]}
    assert names == {"latency"}


def test_hosting_publishes_requests_at_a_time_and_what_replicas_use(cloud: Cloud) -> None:
    cloud.endpoint("observed", fake_model(answer=1), count=2)
    watch = cloud.client("cloudwatch")

    def read(namespace: str, name: str, statistic: str, period: int) -> list[float]:
        points = watch.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=variant("observed"),
            StartTime="2020-01-01T00:00:00Z",
            EndTime="2099-01-01T00:00:00Z",
            Period=period,
            Statistics=[statistic],
        )["Datapoints"]
        return [point[statistic] for point in points]

    wait_for(lambda: read("AWS/SageMaker", "ConcurrentRequestsPerModel", "SampleCount", 10), "a ten-second point")
    assert max(read("AWS/SageMaker", "ConcurrentRequestsPerModel", "SampleCount", 10)) == 2  # one a replica
    wait_for(lambda: read("/aws/sagemaker/Endpoints", "CPUUtilization", "Average", 60), "processor of the replicas")
    assert min(read("/aws/sagemaker/Endpoints", "MemoryUtilization", "Minimum", 60)) > 0
    # A variant without traffic has zeros, so that it can scale in.
    wait_for(lambda: 0.0 in read("AWS/SageMaker", "InvocationsPerInstance", "Sum", 60), "a minute without traffic")


def test_an_alarm_rings_and_calms_down_with_its_reason_and_history(cloud: Cloud) -> None:
    watch = cloud.client("cloudwatch")
    watch.put_metric_alarm(
        AlarmName="slow",
        Namespace="own",
        MetricName="milliseconds",
        ExtendedStatistic="p90",
        Period=60,
        EvaluationPeriods=3,
        DatapointsToAlarm=2,
        Threshold=100.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    assert state(watch, "slow")["StateValue"] == "INSUFFICIENT_DATA"
    wait_for(lambda: state(watch, "slow")["StateValue"] == "OK", "an alarm without data, which does not breach")

    def put() -> bool:
        watch.put_metric_data(
            Namespace="own",
            MetricData=[{"MetricName": "milliseconds", "Timestamp": now(cloud), "Values": [250.0, 260.0]}],
        )
        return bool(state(watch, "slow")["StateValue"] == "ALARM")

    wait_for(put, "the alarm")
    rung = state(watch, "slow")
    assert "2 out of the last 3 datapoints [260 (" in rung["StateReason"]
    assert "were greater than the threshold (100)" in rung["StateReason"]
    assert json.loads(rung["StateReasonData"])["threshold"] == 100.0
    wait_for(lambda: state(watch, "slow")["StateValue"] == "OK", "calm")
    history = watch.describe_alarm_history(AlarmName="slow", HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    assert [item["HistorySummary"] for item in history] == [
        "Alarm updated from ALARM to OK",
        "Alarm updated from OK to ALARM",
        "Alarm updated from INSUFFICIENT_DATA to OK",
    ]
    # A changed alarm keeps its state until it is judged again.
    assert state(watch, "slow")["StateTransitionedTimestamp"] <= now(cloud)


def test_an_alarm_of_errors_per_request_needs_a_minimum_of_requests(cloud: Cloud) -> None:
    cloud.endpoint("math", fake_model(status=500, body="broken"))
    watch = cloud.client("cloudwatch")

    def stat(name: str) -> dict[str, Any]:
        metric = {"Namespace": "AWS/SageMaker", "MetricName": name, "Dimensions": variant("math")}
        return {"Metric": metric, "Period": 60, "Stat": "Sum"}

    watch.put_metric_alarm(
        AlarmName="errors",
        EvaluationPeriods=1,
        Threshold=0.5,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        Metrics=[
            {"Id": "requests", "MetricStat": stat("Invocations"), "ReturnData": False},
            {"Id": "failed", "MetricStat": stat("Invocation5XXErrors"), "ReturnData": False},
            {"Id": "rate", "Expression": "IF(requests >= 5, failed / requests, 0)"},
        ],
    )
    with pytest.raises(ClientError):
        cloud.invoke("math")
    wait_for(lambda: state(watch, "errors")["StateValue"] == "OK", "the verdict on a single request")

    def rings() -> bool:
        for _ in range(8):
            with pytest.raises(ClientError):
                cloud.invoke("math")
        return bool(state(watch, "errors")["StateValue"] == "ALARM")

    wait_for(rings, "the alarm")


def test_a_state_set_by_hand_lasts_until_the_alarm_is_judged_again(cloud: Cloud) -> None:
    watch = cloud.client("cloudwatch")
    watch.put_metric_alarm(
        AlarmName="by-hand",
        Namespace="own",
        MetricName="nothing",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    watch.set_alarm_state(AlarmName="by-hand", StateValue="ALARM", StateReason="drill")
    wait_for(lambda: state(watch, "by-hand")["StateValue"] == "OK", "the next verdict")
    history = watch.describe_alarm_history(AlarmName="by-hand")["AlarmHistoryItems"]
    assert "Alarm updated from ALARM to OK" in {item["HistorySummary"] for item in history}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Statistic": "Sum", "ExtendedStatistic": "p90"}, "exclude each other"),
        ({"Statistic": None, "ExtendedStatistic": "tm90"}, "tm90"),
        ({"DatapointsToAlarm": 4}, "DatapointsToAlarm"),
        ({"Period": 45}, "multiple of 60"),
        ({"TreatMissingData": "sometimes"}, "sometimes"),
        ({"ComparisonOperator": "LessThanLowerThreshold"}, "does not emulate LessThanLowerThreshold"),
    ],
)
def test_an_alarm_that_cannot_be_judged_is_refused(cloud: Cloud, change: dict[str, Any], problem: str) -> None:
    good = {
        "AlarmName": "refused",
        "Namespace": "own",
        "MetricName": "m",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    asked = {name: value for name, value in {**good, **change}.items() if value is not None}
    watch = cloud.client("cloudwatch")
    with pytest.raises(ClientError, match=problem):
        watch.put_metric_alarm(**asked)
    assert watch.describe_alarms(AlarmNames=["refused"])["MetricAlarms"] == []


def test_a_composite_alarm_is_refused_by_name(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="composite"):
        cloud.client("cloudwatch").put_composite_alarm(AlarmName="c", AlarmRule="ALARM(slow)")
