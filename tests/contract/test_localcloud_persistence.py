"""What a server held is there again after its end, however it ended: the same names, ids and answers."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from localcloud_rig import FAKE, Cloud, fake_model, running
from processes import alive, wait_for

from localcloud import daemon
from localcloud.errors import LocalCloudError

pytestmark = pytest.mark.contract

VARIANT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/kept/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
# An alarm's state and its times begin anew, and answers have identifiers of their own.
PASSING = (
    "ResponseMetadata",
    "LastModifiedTime",
    "AlarmConfigurationUpdatedTimestamp",
    "StateUpdatedTimestamp",
    "StateTransitionedTimestamp",
    "StateValue",
    "StateReason",
    "StateReasonData",
)


def lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: lasting(member) for key, member in value.items() if key not in PASSING}
    if isinstance(value, list):
        return [lasting(member) for member in value]
    return value


def furnish(cloud: Cloud) -> None:
    """A bit of everything that is to last."""
    s3, sagemaker = cloud.s3, cloud.sagemaker
    s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="models", Key="twice", Body=b"one", Metadata={"of": "two"})
    s3.put_object(Bucket="models", Key="twice", Body=b"two")
    s3.put_object(Bucket="models", Key="a name/with ünicode+%20", Body=b"odd")
    upload = s3.create_multipart_upload(Bucket="models", Key="parts")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(
                Bucket="models", Key="parts", PartNumber=number, UploadId=upload, Body=bytes([number]) * (5 << 20)
            )["ETag"],
        }
        for number in (1, 2)
    ]
    s3.complete_multipart_upload(Bucket="models", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    cloud.endpoint("kept", fake_model(answer="kept"))
    sagemaker.add_tags(ResourceArn=cloud.describe("kept")["EndpointArn"], Tags=[{"Key": "a", "Value": "b"}])
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="kept", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    )
    cloud.settled("kept")
    cloud.endpoint("gone", fake_model(answer="gone"))
    sagemaker.delete_endpoint(EndpointName="gone")
    wait_for(lambda: "gone" not in names(cloud), "the end of an endpoint")
    scaling = cloud.client("application-autoscaling")
    scaling.register_scalable_target(**VARIANT, MinCapacity=1, MaxCapacity=3)
    scaling.put_scaling_policy(
        **VARIANT,
        PolicyName="follow",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 600.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )
    scaling.put_scheduled_action(
        **VARIANT,
        ScheduledActionName="evening",
        Schedule="cron(0 18 * * ? *)",
        ScalableTargetAction={"MinCapacity": 1},
    )
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName="mine",
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1e6,
        ComparisonOperator="GreaterThanThreshold",
    )
    cloud.client("kms").create_key(Description="mine")


def names(cloud: Cloud) -> list[str]:
    return [one["EndpointName"] for one in cloud.sagemaker.list_endpoints()["Endpoints"]]


def inventory(cloud: Cloud) -> dict[str, Any]:
    s3, sagemaker = cloud.client("s3"), cloud.sagemaker
    scaling, kms = cloud.client("application-autoscaling"), cloud.client("kms")
    arn = cloud.describe("kept")["EndpointArn"]
    found = {
        "buckets": s3.list_buckets()["Buckets"],
        "versions": s3.list_object_versions(Bucket="models")["Versions"],
        "objects": {
            one["Key"]: s3.get_object(Bucket="models", Key=one["Key"])["Body"].read()
            for one in s3.list_objects_v2(Bucket="models")["Contents"]
        },
        "role": cloud.client("iam").get_role(RoleName="execution")["Role"],
        "keys": [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]],
        "model": sagemaker.describe_model(ModelName="kept"),
        "config": sagemaker.describe_endpoint_config(EndpointConfigName="kept"),
        "endpoint": cloud.describe("kept"),
        "endpoints": names(cloud),
        "tags": sagemaker.list_tags(ResourceArn=arn)["Tags"],
        "targets": scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
        "policies": scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"],
        "actions": scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"],
        "alarms": cloud.client("cloudwatch").describe_alarms()["MetricAlarms"],
    }
    found["alarms"].sort(key=lambda alarm: alarm["AlarmName"])
    return dict(lasting(found))


@pytest.fixture
def furnished(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path) as cloud:
        furnish(cloud)
        yield cloud


def again(cloud: Cloud, *more: str) -> Cloud:
    return Cloud(daemon.start(cloud.directory, arguments=(*FAKE, *more)), cloud.directory)


def test_everything_is_there_again_after_a_kill_and_after_a_stop_and_gone_when_that_is_asked_for(
    furnished: Cloud,
) -> None:
    assert stat.S_IMODE((furnished.directory / "state").stat().st_mode) == 0o700
    before = inventory(furnished)
    assert before["endpoint"]["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    replicas = [replica["pid"] for replica in furnished.replicas("kept")]
    os.kill(furnished.server.pid, signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in replicas), "the end of the replicas")
    killed = again(furnished)
    killed.settled("kept")
    assert inventory(killed) == before
    assert killed.invoke("kept")["answer"] == "kept"
    # It goes on from there: what is new lasts as what is old does.
    killed.client("s3").put_object(Bucket="models", Key="later", Body=b"later")
    killed.client("s3").delete_object(Bucket="models", Key="parts")
    daemon.stop(killed.directory)
    stopped = again(killed)
    stopped.settled("kept")
    after = inventory(stopped)
    assert after["objects"]["later"] == b"later" and "parts" not in after["objects"]
    assert after["endpoint"] == before["endpoint"] and after["role"] == before["role"]
    assert stopped.invoke("kept")["answer"] == "kept"
    with pytest.raises(LocalCloudError, match="already runs"):
        daemon.start(stopped.directory, arguments=FAKE, fresh=True)
    daemon.stop(stopped.directory)
    fresh = Cloud(daemon.start(stopped.directory, arguments=FAKE, fresh=True), stopped.directory)
    assert names(fresh) == [] and fresh.client("s3").list_buckets()["Buckets"] == []


def test_an_update_that_a_kill_interrupts_is_one_that_was_rolled_back(tmp_path: Path) -> None:
    with running(tmp_path) as cloud:
        cloud.endpoint("cut", fake_model(answer="old"), count=2)
        cloud.model("cut-2", fake_model(answer="new"))
        cloud.config("cut-2", "cut-2", 2)
        routing = {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 600,
            "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
        }
        cloud.sagemaker.update_endpoint(
            EndpointName="cut",
            EndpointConfigName="cut-2",
            DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
        )
        wait_for(lambda: len(cloud.replicas("cut")) == 4, "the new fleet")
        os.kill(cloud.server.pid, signal.SIGKILL)
        wait_for(lambda: not daemon.is_held(tmp_path), "the end of the server")
        after = again(cloud)
        described = after.settled("cut")
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "cut")
        assert described["FailureReason"] == "The update to cut-2 was interrupted."
        assert len(after.replicas("cut")) == 2
        assert {after.invoke("cut")["answer"] for _ in range(6)} == {"old"}


def test_a_server_comes_back_on_its_port_where_that_is_free(tmp_path: Path) -> None:
    arguments = FAKE[:-2]
    first = daemon.start(tmp_path, port=None, arguments=(*arguments, "--port", "0"))
    try:
        daemon.stop(tmp_path)
        assert daemon.start(tmp_path, arguments=arguments).port == first.port
    finally:
        daemon.stop(tmp_path)


def test_kept_state_that_cannot_be_read_is_told_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "hosting.json").write_text('{"format": 99}')
    with pytest.raises(LocalCloudError, match=r"hosting\.json: the kept state cannot be read .*--fresh"):
        daemon.start(tmp_path, arguments=FAKE)
