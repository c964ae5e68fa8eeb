"""What a DeploymentConfig means, and AWS's limits on it."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.errors import ValidationException
from localcloud.sagemaker.deployment import Plan, Size, read


def blue_green(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": 60, **more}}
    }


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def count(value: int) -> dict[str, Any]:
    return {"Type": "INSTANCE_COUNT", "Value": value}


def rolling(batch: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"RollingUpdatePolicy": {"MaximumBatchSize": batch, "WaitIntervalInSeconds": 60, **more}}


def test_nothing_asked_for_is_all_at_once_without_waits() -> None:
    assert read(None) == read({}) == Plan()


def test_every_member_of_a_deployment_is_read() -> None:
    request = blue_green("CANARY", CanarySize=count(1))
    request["BlueGreenUpdatePolicy"] |= {"TerminationWaitInSeconds": 120, "MaximumExecutionTimeoutInSeconds": 900}
    request["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": "a"}, {"AlarmName": "b"}]}
    expected = Plan("CANARY", Size("INSTANCE_COUNT", 1), None, 60.0, 120.0, 900.0, ("a", "b"))
    assert read(request) == expected
    assert read(rolling(percent(20), RollbackMaximumBatchSize=percent(100))).rollback_step == Size(
        "CAPACITY_PERCENT", 100
    )


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (blue_green("CANARY"), "CanarySize is needed"),
        (blue_green("LINEAR", CanarySize=count(1)), "CanarySize is needed where .* and only there"),
        (blue_green("ALL_AT_ONCE", LinearStepSize=count(1)), "LinearStepSize"),
        ({**blue_green("ALL_AT_ONCE"), **rolling(count(1))}, "exclude each other"),
    ],
)
def test_members_that_do_not_go_together_are_refused(request_: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationException, match=problem):
        read(request_)


@pytest.mark.parametrize(
    ("request_", "total", "allowed"),
    [
        (blue_green("CANARY", CanarySize=percent(50)), 2, True),
        (blue_green("CANARY", CanarySize=percent(51)), 4, False),
        (blue_green("CANARY", CanarySize=count(1)), 2, True),
        (blue_green("CANARY", CanarySize=count(2)), 3, False),
        (blue_green("CANARY", CanarySize=count(1)), 1, False),
        (blue_green("CANARY", CanarySize=percent(10)), 1, False),
        (blue_green("LINEAR", LinearStepSize=percent(10)), 10, True),
        (blue_green("LINEAR", LinearStepSize=percent(9)), 10, False),
        (blue_green("LINEAR", LinearStepSize=count(1)), 20, False),
        (rolling(percent(5)), 20, True),
        (rolling(percent(4)), 20, False),
        (rolling(count(3)), 4, False),
        (rolling(count(1), RollbackMaximumBatchSize=percent(100)), 2, True),
        (rolling(count(1)), 1, False),
        (blue_green("ALL_AT_ONCE"), 1, True),
    ],
)
def test_awss_limits_of_canary_linear_and_rolling_hold(request_: dict[str, Any], total: int, allowed: bool) -> None:
    plan = read(request_)
    if allowed:
        plan.check({"A": total})
        return
    with pytest.raises(ValidationException, match="percent of a variant's instances; variant 'A'") as caught:
        plan.check({"A": total})
    assert ("can only be updated ALL_AT_ONCE" in str(caught.value)) is (total == 1)


def test_the_timeout_must_outlast_all_waits_together() -> None:
    request = blue_green("LINEAR", LinearStepSize=percent(25))
    request["BlueGreenUpdatePolicy"] |= {"TerminationWaitInSeconds": 360, "MaximumExecutionTimeoutInSeconds": 600}
    with pytest.raises(ValidationException, match=r"must be larger than all waits of the deployment together \(600\)"):
        read(request).check({"A": 4})
    request["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 601
    read(request).check({"A": 4})


@pytest.mark.parametrize(("size", "total", "instances"), [(percent(10), 15, 2), (percent(50), 2, 1), (count(3), 8, 3)])
def test_sizes_are_whole_instances(size: dict[str, Any], total: int, instances: int) -> None:
    assert Size.of(size).instances(total) == instances
