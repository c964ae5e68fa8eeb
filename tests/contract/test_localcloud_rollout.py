"""Updates as AWS does them, on a clock of sixty times the wall's: traffic shifts, bakes, and goes back on an alarm."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
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


class Load:
    """A client that keeps invoking and notes whose answer or error it got."""

    def __init__(self, cloud: Cloud, endpoint: str) -> None:
        self.answers: list[Any] = []
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call, args=(cloud.client("sagemaker-runtime"), endpoint))

    def _call(self, client: Any, endpoint: str) -> None:
        while not self._stop.wait(0.005):
            try:
                self.answers.append(
                    json.load(client.invoke_endpoint(EndpointName=endpoint, Body=b"{}")["Body"])["answer"]
                )
            except ClientError as error:
                self.errors.append(error.response.get("OriginalMessage", str(error)))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def settled(cloud: Cloud, name: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        answer = cloud.describe(name)
        return None if answer["EndpointStatus"] in ("Updating", "RollingBack", "Creating") else answer

    result: dict[str, Any] = wait_for(done, f"the end of the update of {name}")
    return result


def alarm(cloud: Cloud, name: str, endpoint: str) -> dict[str, Any]:
    """An alarm on errors; gives the AutoRollbackConfiguration that names it."""
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=3.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    return {"Alarms": [{"AlarmName": name}]}


def routing(kind: str, wait: int, **more: Any) -> dict[str, Any]:
    return {"TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": wait, **more}}


def prepare(cloud: Cloud, name: str, old: bytes, new: bytes, count: int) -> None:
    cloud.endpoint(name, old, count)
    cloud.model(f"{name}-2", new)
    cloud.config(f"{name}-2", f"{name}-2", count)


def test_a_canary_of_a_broken_version_is_rolled_back_and_the_old_one_fails_no_request(cloud: Cloud) -> None:
    prepare(cloud, "canary", fake_model(answer="old"), fake_model(status=500, body="new is broken"), 2)
    rollback = alarm(cloud, "canary-errors", "canary")
    with Load(cloud, "canary") as load:
        wait_for(lambda: load.answers, "a first answer")
        policy = routing("CANARY", 600, CanarySize={"Type": "INSTANCE_COUNT", "Value": 1})
        cloud.sagemaker.update_endpoint(
            EndpointName="canary",
            EndpointConfigName="canary-2",
            DeploymentConfig={"BlueGreenUpdatePolicy": policy, "AutoRollbackConfiguration": rollback},
        )
        baking = wait_for(
            lambda: next(
                (
                    answer
                    for answer in [cloud.describe("canary")]
                    for variant in answer.get("PendingDeploymentSummary", {}).get("ProductionVariants", [])
                    if variant.get("VariantStatus", [{}])[0].get("Status") == "Baking"
                ),
                None,
            ),
            "the canary's baking",
        )
        statuses = set()
        while (answer := cloud.describe("canary"))["EndpointStatus"] != "InService":
            statuses.add(answer["EndpointStatus"])
        wait_for(lambda: len(load.answers) > 20, "answers after the rollback")
        count = len(load.errors)
        for _ in range(20):
            cloud.invoke("canary")
        assert len(load.errors) == count, "errors after the rollback"
    pending = baking["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "canary-2"
    assert pending["ProductionVariants"][0]["CurrentWeight"] == 0.5
    assert baking["EndpointConfigName"] == "canary"
    assert baking["ProductionVariants"][0]["CurrentWeight"] == 0.5
    after = cloud.describe("canary")
    assert after["EndpointConfigName"] == "canary"
    assert "canary-errors is in ALARM state: Threshold Crossed" in after["FailureReason"]
    assert "PendingDeploymentSummary" not in after
    assert statuses <= {"Updating", "RollingBack"}
    assert set(load.errors) == {"new is broken"}
    assert set(load.answers) == {"old"}
    assert len(cloud.replicas("canary")) == 2


def test_a_linear_update_shifts_step_by_step_and_ends_with_the_new_version(cloud: Cloud) -> None:
    prepare(cloud, "linear", fake_model(answer="old"), fake_model(answer="new"), 2)
    old = cloud.replicas("linear")
    with Load(cloud, "linear") as load:
        wait_for(lambda: load.answers, "a first answer")
        policy = routing("LINEAR", 60, LinearStepSize={"Type": "CAPACITY_PERCENT", "Value": 50})
        cloud.sagemaker.update_endpoint(
            EndpointName="linear",
            EndpointConfigName="linear-2",
            DeploymentConfig={"BlueGreenUpdatePolicy": {**policy, "TerminationWaitInSeconds": 30}},
        )
        after = settled(cloud, "linear")
        wait_for(lambda: load.answers[-1] == "new", "an answer of the new version")
    assert after["EndpointConfigName"] == "linear-2" and "FailureReason" not in after
    assert load.errors == []
    first_new, last_old = load.answers.index("new"), len(load.answers) - 1 - load.answers[::-1].index("old")
    shares = Counter(load.answers[first_new:last_old])
    assert shares["new"] == pytest.approx(shares["old"], abs=0.2 * shares.total()), "half of the traffic meanwhile"
    assert not any(alive(replica["pid"]) for replica in old)
    assert after["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TerminationWaitInSeconds"] == 30


def test_a_rolling_update_replaces_instances_batch_by_batch(cloud: Cloud) -> None:
    prepare(cloud, "rolling", fake_model(answer="old"), fake_model(answer="new"), 2)
    sizes: list[int] = []
    with Load(cloud, "rolling") as load:
        wait_for(lambda: load.answers, "a first answer")
        policy = {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 60}
        cloud.sagemaker.update_endpoint(
            EndpointName="rolling",
            EndpointConfigName="rolling-2",
            DeploymentConfig={"RollingUpdatePolicy": policy},
        )
        while cloud.describe("rolling")["EndpointStatus"] == "Updating":
            sizes.append(len(cloud.replicas("rolling")))
        wait_for(lambda: load.answers[-1] == "new", "an answer of the new version")
    assert cloud.describe("rolling")["EndpointConfigName"] == "rolling-2"
    assert load.errors == [] and set(load.answers) == {"old", "new"}
    assert max(sizes) == 3, "never more than one batch beside the old ones"


def test_a_rolling_update_that_rings_an_alarm_brings_the_old_instances_back(cloud: Cloud) -> None:
    prepare(cloud, "turned", fake_model(answer="old"), fake_model(answer="new"), 2)
    rollback = alarm(cloud, "turned-errors", "turned")
    policy = {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 120}
    cloud.sagemaker.update_endpoint(
        EndpointName="turned",
        EndpointConfigName="turned-2",
        DeploymentConfig={"RollingUpdatePolicy": policy, "AutoRollbackConfiguration": rollback},
    )
    # The second batch bakes: one old instance is gone already.
    wait_for(lambda: variant_message(cloud, "turned") == "batch 2 bakes (120 s)", "the second batch")
    cloud.client("cloudwatch").set_alarm_state(AlarmName="turned-errors", StateValue="ALARM", StateReason="a drill")
    after = settled(cloud, "turned")
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "turned")
    assert "turned-errors is in ALARM state" in after["FailureReason"]
    assert after["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert {cloud.invoke("turned")["answer"] for _ in range(6)} == {"old"}


def variant_message(cloud: Cloud, name: str) -> str:
    variants = cloud.describe(name).get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])
    return str(variants[0].get("VariantStatus", [{}])[0].get("StatusMessage"))


def test_a_rollback_that_cannot_start_the_old_version_is_update_rollback_failed(cloud: Cloud, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    prepare(cloud, "stuck", fake_model(answer="old", crash_while=str(flag)), fake_model(answer="new"), 2)
    rollback = alarm(cloud, "stuck-errors", "stuck")
    policy = {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 120}
    cloud.sagemaker.update_endpoint(
        EndpointName="stuck",
        EndpointConfigName="stuck-2",
        DeploymentConfig={"RollingUpdatePolicy": policy, "AutoRollbackConfiguration": rollback},
    )
    wait_for(lambda: variant_message(cloud, "stuck") == "batch 2 bakes (120 s)", "the second batch")
    flag.touch()
    cloud.client("cloudwatch").set_alarm_state(AlarmName="stuck-errors", StateValue="ALARM", StateReason="a drill")
    after = settled(cloud, "stuck")
    assert after["EndpointStatus"] == "UpdateRollbackFailed"
    assert "stuck-errors" in after["FailureReason"] and "told to crash" in after["FailureReason"]
    assert cloud.invoke("stuck")["answer"] in ("old", "new")
    flag.unlink()
    cloud.client("cloudwatch").set_alarm_state(AlarmName="stuck-errors", StateValue="OK", StateReason="over")
    cloud.sagemaker.update_endpoint(EndpointName="stuck", EndpointConfigName="stuck-2")
    assert settled(cloud, "stuck")["EndpointStatus"] == "InService"
    assert {cloud.invoke("stuck")["answer"] for _ in range(4)} == {"new"}
    assert len(cloud.replicas("stuck")) == 2


def test_what_aws_refuses_of_a_deployment_is_refused_before_anything_starts(cloud: Cloud) -> None:
    prepare(cloud, "single", fake_model(answer="old"), fake_model(answer="new"), 1)

    def refused(deployment: dict[str, Any]) -> str:
        with pytest.raises(ClientError) as caught:
            cloud.sagemaker.update_endpoint(
                EndpointName="single", EndpointConfigName="single-2", DeploymentConfig=deployment
            )
        assert caught.value.response["Error"]["Code"] == "ValidationException"
        return str(caught.value)

    canary = routing("CANARY", 60, CanarySize={"Type": "CAPACITY_PERCENT", "Value": 50})
    assert "one instance can only be updated ALL_AT_ONCE" in refused({"BlueGreenUpdatePolicy": canary})
    everything = routing("ALL_AT_ONCE", 0)
    missing = {"BlueGreenUpdatePolicy": everything, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "absent"}]}}
    assert "alarm(s) of AutoRollbackConfiguration: absent" in refused(missing)
    assert cloud.describe("single")["EndpointStatus"] == "InService"
    assert len(cloud.replicas("single")) == 1
