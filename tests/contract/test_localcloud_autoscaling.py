"""The autoscaler on a clock of sixty times the wall's: replicas really start and stop."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from localcloud_rig import FAKE, Cloud, fake_model, running
from processes import alive, wait_for

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("localcloud"), (*FAKE, "--speed", "60")) as cloud:
        yield cloud


def target(endpoint: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def register(cloud: Cloud, endpoint: str, least: int = 1, most: int = 3) -> Any:
    scaling = cloud.client("application-autoscaling")
    scaling.register_scalable_target(**target(endpoint), MinCapacity=least, MaxCapacity=most)
    return scaling


def track(scaling: Any, endpoint: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = scaling.put_scaling_policy(
        **target(endpoint),
        PolicyName="follow",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": value,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            **more,
        },
    )
    return answer


def count(cloud: Cloud, endpoint: str) -> int:
    return int(cloud.describe(endpoint)["ProductionVariants"][0]["CurrentInstanceCount"])


def activities(scaling: Any, endpoint: str, **more: Any) -> list[dict[str, Any]]:
    resource = target(endpoint)["ResourceId"]
    answer = scaling.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=resource, **more)
    return list(answer["ScalingActivities"])


@contextmanager
def load(cloud: Cloud, endpoint: str, threads: int, pause: float = 0.0) -> Iterator[list[str]]:
    """Clients that invoke without end; gives the failures."""
    failures: list[str] = []
    stop = threading.Event()

    def call() -> None:
        client = cloud.client("sagemaker-runtime")
        while not stop.wait(pause):
            try:
                client.invoke_endpoint(EndpointName=endpoint, Body=b"{}")
            except ClientError as error:
                failures.append(str(error))

    workers = [threading.Thread(target=call) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield failures
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def test_target_tracking_scales_out_under_load_and_in_without_it_and_drains_first(cloud: Cloud) -> None:
    cloud.endpoint("tracked", fake_model(answer=1, delay=0.05))
    scaling = register(cloud, "tracked")
    put = track(
        scaling, "tracked", "SageMakerVariantInvocationsPerInstance", 8.0, ScaleInCooldown=60, ScaleOutCooldown=60
    )
    high, low = (alarm["AlarmName"] for alarm in put["Alarms"])
    described = cloud.client("cloudwatch").describe_alarms(AlarmNames=[high, low])["MetricAlarms"]
    assert {(one["EvaluationPeriods"], one["Period"], round(one["Threshold"], 6)) for one in described} == {
        (3, 60, 8.0),
        (15, 60, 7.2),
    }
    with load(cloud, "tracked", 2) as failures:
        # 40 requests a second are 40 in a minute of this clock: five times the target of one instance.
        wait_for(lambda: count(cloud, "tracked") == 3, "scaling out to the maximum")
    out = activities(scaling, "tracked")[-1]
    assert out["Description"] == "Setting desired instance count to 3."
    assert out["Cause"] == f"monitor alarm {high} in state ALARM triggered policy follow"
    assert out["StatusCode"] == "Successful"
    assert out["StatusMessage"].endswith("Change successfully fulfilled by sagemaker.")
    before = cloud.replicas("tracked")
    wait_for(lambda: count(cloud, "tracked") == 1, "scaling in to the minimum")
    assert f"monitor alarm {low} in state ALARM" in activities(scaling, "tracked")[0]["Cause"]
    wait_for(lambda: [alive(replica["pid"]) for replica in before].count(True) == 1, "the end of the others")
    assert failures == []


def test_the_concurrency_metric_reacts_within_its_ten_seconds(cloud: Cloud) -> None:
    cloud.endpoint("busy", fake_model(answer=1, delay=0.1))
    scaling = register(cloud, "busy", most=2)
    track(scaling, "busy", "SageMakerVariantConcurrentRequestsPerModelHighResolution", 1.5)
    with load(cloud, "busy", 4):
        wait_for(lambda: activities(scaling, "busy"), "a decision")
    (first,) = activities(scaling, "busy")[-1:]
    assert "AlarmHigh" in first["Cause"] and first["Description"] == "Setting desired instance count to 2."


def test_step_scaling_follows_the_users_own_alarm(cloud: Cloud) -> None:
    cloud.endpoint("stepped", fake_model(answer=1))
    scaling = register(cloud, "stepped", most=3)
    arn = scaling.put_scaling_policy(
        **target("stepped"),
        PolicyName="steps",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "Cooldown": 600,
            "StepAdjustments": [
                {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
                {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 2},
            ],
        },
    )["PolicyARN"]
    watch = cloud.client("cloudwatch")
    watch.put_metric_alarm(
        AlarmName="queue",
        Namespace="own",
        MetricName="queue",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=10.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=[arn],
    )

    def long_queue() -> bool:
        watch.put_metric_data(
            Namespace="own", MetricData=[{"MetricName": "queue", "Timestamp": now(cloud), "Value": 25.0}]
        )
        return count(cloud, "stepped") == 3

    wait_for(long_queue, "two more instances at once")
    (activity,) = activities(scaling, "stepped")
    assert activity["Cause"] == "monitor alarm queue in state ALARM triggered policy steps"
    wait_for(
        lambda: long_queue() and len(activities(scaling, "stepped", IncludeNotScaledActivities=True)) > 1,
        "an activity that did not scale",
    )
    unscaled = activities(scaling, "stepped", IncludeNotScaledActivities=True)[0]
    assert unscaled["NotScaledReasons"] == [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 3, "CurrentCapacity": 3}]


def now(cloud: Cloud) -> datetime:
    with urllib.request.urlopen(f"{cloud.server.endpoint}/_slipway/status") as answer:
        return datetime.fromtimestamp(json.load(answer)["server"]["clock"], UTC)


def test_a_scheduled_action_moves_the_limits_and_the_capacity_follows(cloud: Cloud) -> None:
    cloud.endpoint("planned", fake_model(answer=1))
    scaling = register(cloud, "planned", most=4)
    soon = now(cloud).astimezone(UTC) + timedelta(minutes=2)
    scaling.put_scheduled_action(
        **target("planned"),
        ScheduledActionName="morning",
        Schedule=f"at({soon:%Y-%m-%dT%H:%M:%S})",
        ScalableTargetAction={"MinCapacity": 2},
    )
    wait_for(lambda: count(cloud, "planned") == 2, "the capacity of the schedule")
    causes = [activity["Cause"] for activity in activities(scaling, "planned")]
    assert causes == ["minimum capacity was set to 2", "scheduled action name morning was triggered"]
    (described,) = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[target("planned")["ResourceId"]]
    )["ScalableTargets"]
    assert (described["MinCapacity"], described["MaxCapacity"]) == (2, 4)


def test_nothing_scales_while_an_endpoint_is_updated(cloud: Cloud) -> None:
    cloud.endpoint("updating", fake_model(answer=1))
    cloud.model("updating-2", fake_model(answer=2))
    cloud.config("updating-2", "updating-2")
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 240}
    cloud.sagemaker.update_endpoint(
        EndpointName="updating",
        EndpointConfigName="updating-2",
        DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
    )
    scaling = register(cloud, "updating", least=2)
    while cloud.describe("updating")["EndpointStatus"] == "Updating":
        assert activities(scaling, "updating") == []
        time.sleep(0.02)
        if cloud.describe("updating")["EndpointConfigName"] == "updating-2":
            break
    wait_for(lambda: count(cloud, "updating") == 2, "the minimum, after the update")
    assert cloud.invoke("updating")["answer"] == 2


def test_a_deleted_policy_takes_its_alarms_along(cloud: Cloud) -> None:
    cloud.endpoint("cleaned", fake_model(answer=1))
    scaling = register(cloud, "cleaned")
    names = [
        alarm["AlarmName"]
        for alarm in track(scaling, "cleaned", "SageMakerVariantInvocationsPerInstance", 5.0)["Alarms"]
    ]
    watch = cloud.client("cloudwatch")
    assert len(watch.describe_alarms(AlarmNames=names)["MetricAlarms"]) == 2
    scaling.delete_scaling_policy(**target("cleaned"), PolicyName="follow")
    assert watch.describe_alarms(AlarmNames=names)["MetricAlarms"] == []
    with pytest.raises(ClientError, match="ObjectNotFoundException"):
        scaling.delete_scaling_policy(**target("cleaned"), PolicyName="follow")


def test_inputs_that_aws_refuses_are_refused(cloud: Cloud) -> None:
    cloud.endpoint("checked", fake_model(answer=1))
    scaling = register(cloud, "checked")

    def refused(call: Any, **arguments: Any) -> str:
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        return str(caught.value)

    register_ = scaling.register_scalable_target
    assert "less than minimum" in refused(register_, **target("checked"), MinCapacity=3, MaxCapacity=2)
    assert "No SageMaker endpoint variant" in refused(register_, **target("nowhere"), MinCapacity=1, MaxCapacity=2)
    assert "asynchronous" in refused(register_, **target("checked"), MinCapacity=0, MaxCapacity=2)
    ecs = {**target("checked"), "ServiceNamespace": "ecs"}
    assert "UnsupportedOperation" in refused(register_, **ecs, MinCapacity=1, MaxCapacity=2)
    put = scaling.put_scaling_policy
    unknown = {**target("checked"), "ResourceId": "endpoint/other/variant/AllTraffic"}
    assert "ObjectNotFoundException" in refused(put, **unknown, PolicyName="p", PolicyType="StepScaling")
    assert "needs StepScalingPolicyConfiguration" in refused(put, **target("checked"), PolicyName="p")
    predefined = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}}
    policy = {"PolicyName": "p", "PolicyType": "TargetTrackingScaling", **target("checked")}
    assert "does not emulate ECSService" in refused(
        put, **policy, TargetTrackingScalingPolicyConfiguration={"TargetValue": 1.0, **predefined}
    )
    action = {"ScheduledActionName": "a", "ScalableTargetAction": {"MinCapacity": 1}, **target("checked")}
    assert "Invalid schedule" in refused(scaling.put_scheduled_action, **action, Schedule="cron(0 9 * * MON *)")
    assert "in the past" in refused(scaling.put_scheduled_action, **action, Schedule="at(2020-01-01T00:00:00)")
