from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from localcloud_rig import IMAGE, TRUST, Cloud, fake_model, running
from processes import alive, wait_for

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("localcloud")) as cloud:
        yield cloud


class Caller:
    """A client that keeps invoking an endpoint until it is told to stop."""

    def __init__(self, cloud: Cloud, endpoint: str) -> None:
        self.answers: list[Any] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(cloud, endpoint)) for _ in range(3)]

    def _call(self, cloud: Cloud, endpoint: str) -> None:
        client = cloud.client("sagemaker-runtime")
        while not self._stop.is_set():
            try:
                answer = json.load(client.invoke_endpoint(EndpointName=endpoint, Body=b"{}")["Body"])
                self.answers.append(answer["answer"])
            except ClientError as error:
                self.failures.append(str(error))

    def __enter__(self) -> Caller:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def error_of(call: Any, **arguments: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_an_endpoint_lives_from_creation_to_deletion(cloud: Cloud) -> None:
    described = cloud.endpoint("life", fake_model(answer=1), count=2, MODE="a")
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointArn"] == "arn:aws:sagemaker:us-east-1:123456789012:endpoint/life"
    (variant,) = described["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"], variant["CurrentWeight"]) == (2, 2, 1.0)
    assert variant["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    answers = [cloud.invoke("life") for _ in range(6)]
    assert len({answer["pid"] for answer in answers}) == 2
    assert answers[0]["environment"]["MODE"] == "a"

    cloud.model("life-2", fake_model(answer=2))
    cloud.config("life-2", "life-2", count=1)
    cloud.sagemaker.update_endpoint(EndpointName="life", EndpointConfigName="life-2")
    updated = cloud.settled("life")
    assert (updated["EndpointConfigName"], cloud.invoke("life")["answer"]) == ("life-2", 2)
    assert not any(alive(answer["pid"]) for answer in answers)

    (replica,) = cloud.replicas("life")
    cloud.sagemaker.delete_endpoint(EndpointName="life")
    wait_for(lambda: not cloud.sagemaker.list_endpoints(NameContains="life")["Endpoints"], "the end of the endpoint")
    assert not alive(replica["pid"])
    assert error_of(cloud.sagemaker.describe_endpoint, EndpointName="life") == (
        "ValidationException",
        'Could not find endpoint "arn:aws:sagemaker:us-east-1:123456789012:endpoint/life".',
        400,
    )


def test_headers_pass_to_the_model_and_back_and_the_users_secrets_do_not(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.endpoint("headers", fake_model(answer=1))
    answer = cloud.runtime.invoke_endpoint(
        EndpointName="headers", Body=b"abc", ContentType="text/csv", Accept="text/plain", CustomAttributes="mine"
    )
    seen = json.load(answer["Body"])
    assert (seen["content_type"], seen["accept"], seen["attributes"], seen["length"]) == (
        "text/csv",
        "text/plain",
        "mine",
        3,
    )
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "from-the-model"
    assert answer["ContentType"] == "application/json"
    assert answer["ResponseMetadata"]["RequestId"]


def test_replicas_of_one_artifact_share_one_unpacked_copy(cloud: Cloud) -> None:
    artifact = fake_model(answer="shared")
    before = len(list((cloud.directory / "artifacts").iterdir())) if (cloud.directory / "artifacts").exists() else 0
    cloud.endpoint("shared-1", artifact, count=2)
    cloud.endpoint("shared-2", artifact)
    assert len(list((cloud.directory / "artifacts").iterdir())) == before + 1


@pytest.mark.parametrize(
    ("name", "artifact", "reason"),
    [
        ("truncated", fake_model(answer="x" * 5000)[:-20], "s3://models/truncated/model.tar.gz.*truncated"),
        ("no-archive", b"hello", "s3://models/no-archive/model.tar.gz.*Not a gzipped file"),
        ("crash", fake_model(crash="model.onnx: no such file"), "ping health check.*Reason: model.onnx: no such file"),
    ],
)
def test_a_model_that_cannot_run_fails_the_endpoint_with_its_reason(
    cloud: Cloud, name: str, artifact: bytes, reason: str
) -> None:
    described = cloud.endpoint(name, artifact)
    assert described["EndpointStatus"] == "Failed"
    assert re.search(reason, described["FailureReason"])
    assert error_of(cloud.runtime.invoke_endpoint, EndpointName=name, Body=b"")[:2] == (
        "ValidationError",
        f"Endpoint {name} of account 123456789012 not found.",
    )
    code, message, _ = error_of(cloud.sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=name)
    assert (code, "Failed" in message) == ("ValidationException", True)
    cloud.sagemaker.delete_endpoint(EndpointName=name)


def test_an_update_to_a_broken_model_fails_no_request_and_keeps_the_old_one(cloud: Cloud) -> None:
    cloud.endpoint("stable", fake_model(answer="old"), count=2)
    before = {replica["pid"] for replica in cloud.replicas("stable")}
    cloud.model("broken", fake_model(crash="it was trained on the moon"))
    cloud.config("broken", "broken", count=2)
    with Caller(cloud, "stable") as caller:
        cloud.sagemaker.update_endpoint(EndpointName="stable", EndpointConfigName="broken")
        during = cloud.describe("stable")
        after = cloud.settled("stable")
        answered = len(caller.answers)
        wait_for(lambda: len(caller.answers) > answered + 10, "more answers")
    assert during["EndpointStatus"] == "Updating"
    assert during["PendingDeploymentSummary"]["EndpointConfigName"] == "broken"
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "stable")
    assert "it was trained on the moon" in after["FailureReason"]
    assert caller.failures == []
    assert set(caller.answers) == {"old"}
    assert {replica["pid"] for replica in cloud.replicas("stable")} == before


def test_an_update_fails_no_request_while_traffic_moves(cloud: Cloud) -> None:
    cloud.endpoint("moving", fake_model(answer="old", delay=0.02), count=2)
    cloud.model("moving-2", fake_model(answer="new", delay=0.02))
    cloud.config("moving-2", "moving-2", count=2)
    with Caller(cloud, "moving") as caller:
        wait_for(lambda: caller.answers, "a first answer")
        cloud.sagemaker.update_endpoint(EndpointName="moving", EndpointConfigName="moving-2")
        assert cloud.settled("moving")["EndpointConfigName"] == "moving-2"
        wait_for(lambda: caller.answers[-1] == "new", "an answer of the new model")
    assert caller.failures == []
    assert set(caller.answers) == {"old", "new"}
    assert "FailureReason" not in cloud.describe("moving")


def test_a_changed_capacity_starts_and_stops_replicas(cloud: Cloud) -> None:
    cloud.endpoint("capacity", fake_model(answer=1))

    def resize(count: int) -> list[dict[str, Any]]:
        cloud.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="capacity",
            DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": count}],
        )
        (variant,) = cloud.settled("capacity")["ProductionVariants"]
        assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (count, count)
        return cloud.replicas("capacity")

    three = resize(3)
    assert all(alive(replica["pid"]) for replica in three)
    (one,) = resize(1)
    assert [alive(replica["pid"]) for replica in three].count(True) == 1
    assert cloud.invoke("capacity")["pid"] == one["pid"]
    cloud.config("capacity-2", "capacity", count=1)
    resize(2)
    cloud.sagemaker.update_endpoint(
        EndpointName="capacity", EndpointConfigName="capacity-2", RetainAllVariantProperties=True
    )
    assert cloud.settled("capacity")["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    code, message, _ = error_of(
        cloud.sagemaker.update_endpoint_weights_and_capacities,
        EndpointName="capacity",
        DesiredWeightsAndCapacities=[{"VariantName": "Other", "DesiredInstanceCount": 1}],
    )
    assert code == "ValidationException" and "Other" in message


def test_a_killed_replica_is_replaced_and_requests_go_on(cloud: Cloud) -> None:
    cloud.endpoint("healing", fake_model(answer=1, die_on="die"), count=2)
    first, second = cloud.replicas("healing")
    os.kill(first["pid"], signal.SIGKILL)
    for _ in range(10):
        assert cloud.invoke("healing")["answer"] == 1

    def healed() -> bool:
        healthy = [replica for replica in cloud.replicas("healing") if replica["state"] == "Healthy"]
        return len(healthy) == 2 and first["pid"] not in {replica["pid"] for replica in healthy}

    wait_for(healed, "the replacement of the replica")
    assert alive(second["pid"])


def test_a_replica_that_hangs_is_killed_replaced_and_counted(cloud: Cloud) -> None:
    cloud.endpoint("hanging", fake_model(answer=1), count=2)
    first, second = cloud.replicas("hanging")
    # It accepts connections still, as the kernel does that for it, and answers none.
    os.kill(first["pid"], signal.SIGSTOP)
    try:
        wait_for(lambda: not alive(first["pid"]), "the end of the hung replica")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first["pid"], signal.SIGCONT)

    def healed() -> bool:
        healthy = [replica["pid"] for replica in cloud.replicas("hanging") if replica["state"] == "Healthy"]
        return len(healthy) == 2 and first["pid"] not in healthy and second["pid"] in healthy

    wait_for(healed, "the replacement of the replica")
    assert cloud.restarts("hanging") == 1
    assert cloud.invoke("hanging")["answer"] == 1


def test_a_request_that_kills_every_replica_is_told_as_unavailable_and_the_endpoint_recovers(cloud: Cloud) -> None:
    cloud.endpoint("poison", fake_model(answer=1, die_on="die"))
    (first,) = cloud.replicas("poison")
    assert error_of(cloud.runtime.invoke_endpoint, EndpointName="poison", Body=b"die")[0::2] == (
        "ServiceUnavailable",
        503,
    )

    def recovered() -> bool:
        healthy = {replica["pid"] for replica in cloud.replicas("poison") if replica["state"] == "Healthy"}
        return bool(healthy - {first["pid"]})

    wait_for(recovered, "recovery")
    assert cloud.invoke("poison")["answer"] == 1


@pytest.mark.parametrize(("status", "kind"), [(400, "client"), (413, "client"), (415, "client"), (500, "server")])
def test_an_error_of_the_model_is_a_model_error_with_its_status_and_message(
    cloud: Cloud, status: int, kind: str
) -> None:
    name = f"model-error-{status}"
    cloud.endpoint(name, fake_model(status=status, body='{"error": "no"}'))
    with pytest.raises(cloud.runtime.exceptions.ModelError) as caught:
        cloud.runtime.invoke_endpoint(EndpointName=name, Body=b"{}")
    response = caught.value.response
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (status, '{"error": "no"}')
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    message = response["Error"]["Message"]
    assert message.startswith(f'Received {kind} error ({status}) from primary with message "{{"error": "no"}}". See ')
    assert response["LogStreamArn"].endswith(f"log-group:/aws/sagemaker/Endpoints/{name}")


def test_bodies_are_accepted_up_to_six_mebibytes(cloud: Cloud) -> None:
    cloud.endpoint("size", fake_model(answer=1))
    limit = 6 * 1024 * 1024
    assert cloud.invoke("size", b"x" * limit)["length"] == limit
    code, message, status = error_of(cloud.runtime.invoke_endpoint, EndpointName="size", Body=b"x" * (limit + 1))
    assert (code, status) == ("ValidationError", 413)
    assert str(limit) in message


def test_an_unknown_endpoint_or_variant_is_a_validation_error(cloud: Cloud) -> None:
    assert error_of(cloud.runtime.invoke_endpoint, EndpointName="nowhere", Body=b"") == (
        "ValidationError",
        "Endpoint nowhere of account 123456789012 not found.",
        400,
    )
    cloud.endpoint("one-variant", fake_model(answer=1))
    code, message, _ = error_of(
        cloud.runtime.invoke_endpoint, EndpointName="one-variant", Body=b"", TargetVariant="Other"
    )
    assert code == "ValidationError" and "Other" in message
    elsewhere = cloud.client("sagemaker-runtime", "eu-west-1")
    assert error_of(elsewhere.invoke_endpoint, EndpointName="one-variant", Body=b"")[0] == "ValidationError"


def test_what_is_not_emulated_is_refused_and_names_what_is(cloud: Cloud) -> None:
    code, message, status = error_of(cloud.sagemaker.list_training_jobs)
    assert (code, status) == ("UnsupportedOperation", 501) and "CreateEndpoint" in message
    code, message, _ = error_of(
        cloud.sagemaker.create_endpoint_config,
        EndpointConfigName="explained",
        ProductionVariants=[{"VariantName": "A", "ModelName": "m"}],
        ExplainerConfig={},
    )
    assert code == "UnsupportedOperation" and "ExplainerConfig" in message
    code, message, status = error_of(cloud.client("dynamodb").list_tables)
    assert (code, status) == ("UnsupportedOperation", 501) and "dynamodb" in message


def test_names_in_use_and_missing_ones_are_told_in_awss_words(cloud: Cloud) -> None:
    cloud.endpoint("taken", fake_model(answer=1))
    arn = "arn:aws:sagemaker:us-east-1:123456789012"
    assert error_of(cloud.sagemaker.create_endpoint, EndpointName="taken", EndpointConfigName="taken")[:2] == (
        "ValidationException",
        f'Cannot create already existing endpoint "{arn}:endpoint/taken".',
    )
    assert error_of(cloud.sagemaker.create_endpoint, EndpointName="free", EndpointConfigName="none")[:2] == (
        "ValidationException",
        f'Could not find endpoint configuration "{arn}:endpoint-config/none".',
    )
    assert error_of(cloud.config, name="free", model="none")[:2] == (
        "ValidationException",
        f'Could not find model "{arn}:model/none".',
    )
    cloud.sagemaker.delete_endpoint_config(EndpointConfigName="taken")
    assert cloud.invoke("taken")["answer"] == 1
    cloud.config("another", "taken")
    assert error_of(cloud.sagemaker.update_endpoint, EndpointName="taken", EndpointConfigName="another")[:2] == (
        "ValidationException",
        f'Could not find endpoint configuration "{arn}:endpoint-config/taken".',
    )


def test_a_model_needs_its_data_and_a_role_that_sagemaker_may_assume(cloud: Cloud) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/nothing/model.tar.gz"}
    create = cloud.sagemaker.create_model
    code, message, _ = error_of(create, ModelName="m", ExecutionRoleArn=cloud.role, PrimaryContainer=container)
    assert (code, message) == ("ValidationException", f"Could not find model data at {container['ModelDataUrl']}.")
    cloud.s3.put_object(Bucket="models", Key="nothing/model.tar.gz", Body=b"")
    stranger = json.loads(json.dumps(TRUST).replace("sagemaker", "lambda"))
    iam = cloud.client("iam")
    arn = iam.create_role(RoleName="stranger", AssumeRolePolicyDocument=json.dumps(stranger))["Role"]["Arn"]
    for role in (arn, "arn:aws:iam::123456789012:role/nobody"):
        code, message, _ = error_of(create, ModelName="m", ExecutionRoleArn=role, PrimaryContainer=container)
        assert code == "ValidationException" and message.startswith(f"Could not assume role {role}.")


def test_lists_filter_and_page(cloud: Cloud) -> None:
    for number in range(3):
        cloud.model(f"listed-{number}", fake_model(answer=number))
    first = cloud.sagemaker.list_models(NameContains="listed", SortBy="Name", SortOrder="Ascending", MaxResults=2)
    assert [model["ModelName"] for model in first["Models"]] == ["listed-0", "listed-1"]
    second = cloud.sagemaker.list_models(
        NameContains="listed", SortBy="Name", SortOrder="Ascending", MaxResults=2, NextToken=first["NextToken"]
    )
    assert [model["ModelName"] for model in second["Models"]] == ["listed-2"]
    assert "NextToken" not in second
    cloud.sagemaker.delete_model(ModelName="listed-1")
    left = cloud.sagemaker.list_models(NameContains="listed", SortBy="Name")["Models"]
    assert [model["ModelName"] for model in left] == ["listed-2", "listed-0"]


def test_tags_are_added_listed_and_deleted(cloud: Cloud) -> None:
    cloud.model("tagged", fake_model(answer=1))
    arn = cloud.sagemaker.describe_model(ModelName="tagged")["ModelArn"]
    cloud.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "1"}])
    cloud.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["b"])
    assert cloud.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "1"}]
    assert error_of(cloud.sagemaker.list_tags, ResourceArn=arn + "x")[0] == "ValidationException"


def test_invocations_are_measured_in_cloudwatch(cloud: Cloud) -> None:
    cloud.endpoint("measured", fake_model(answer=1, delay=0.01), count=2)
    for _ in range(4):
        cloud.invoke("measured")
    watch = cloud.client("cloudwatch")

    def statistics(metric: str, statistic: str) -> list[float]:
        points = watch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[
                {"Name": "EndpointName", "Value": "measured"},
                {"Name": "VariantName", "Value": "AllTraffic"},
            ],
            StartTime="2020-01-01T00:00:00Z",
            EndTime="2099-01-01T00:00:00Z",
            Period=60,
            Statistics=[statistic],
        )["Datapoints"]
        return [point[statistic] for point in points]

    wait_for(lambda: sum(statistics("Invocations", "Sum")) == 4, "four measured invocations")
    assert sum(statistics("InvocationsPerInstance", "Sum")) == 2
    assert sum(statistics("Invocation5XXErrors", "Sum")) == 0
    assert min(statistics("ModelLatency", "Minimum")) >= 10_000  # microseconds


def test_the_region_and_environment_variable_alone_are_enough_for_boto3(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    cloud.endpoint("environment", fake_model(answer=1))
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(EndpointName="environment", Body=b"{}")
    assert json.load(answer["Body"])["answer"] == 1


def test_model_data_may_be_a_prefix_of_plain_objects(cloud: Cloud) -> None:
    cloud.s3.put_object(Bucket="models", Key="plain/behaviour.json", Body=b'{"answer": "plain"}')
    source = {"S3Uri": "s3://models/plain/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    cloud.sagemaker.create_model(
        ModelName="plain",
        ExecutionRoleArn=cloud.role,
        PrimaryContainer={"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}},
    )
    cloud.config("plain", "plain")
    cloud.sagemaker.create_endpoint(EndpointName="plain", EndpointConfigName="plain")
    assert cloud.settled("plain")["EndpointStatus"] == "InService"
    assert cloud.invoke("plain")["answer"] == "plain"
