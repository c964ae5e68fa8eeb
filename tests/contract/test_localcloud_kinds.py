"""Kinds of endpoints: several variants, shadow, serverless, asynchronous, streams, and data capture."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError
from localcloud_rig import FAKE, Cloud, fake_model, running
from processes import alive, wait_for

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("localcloud"), (*FAKE, "--speed", "60")) as cloud:
        cloud.model("blue", fake_model(answer="blue"))
        cloud.model("green", fake_model(answer="green"))
        yield cloud


def variant(name: str, model: str, weight: float = 1.0, count: int = 1) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InitialInstanceCount": count,
        "InstanceType": "ml.c7i.large",
        "InitialVariantWeight": weight,
    }


def create(cloud: Cloud, name: str, variants: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    cloud.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **more)
    cloud.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return cloud.settled(name)


def test_variants_share_the_traffic_by_weight_and_can_be_asked_for(cloud: Cloud) -> None:
    create(cloud, "mixed", [variant("Blue", "blue", 3.0), variant("Green", "green", 1.0)])
    assert Counter(cloud.invoke("mixed")["answer"] for _ in range(40)) == {"blue": 30, "green": 10}
    answer = cloud.runtime.invoke_endpoint(EndpointName="mixed", Body=b"{}", TargetVariant="Green")
    assert answer["InvokedProductionVariant"] == "Green" and json.load(answer["Body"])["answer"] == "green"
    cloud.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="mixed", DesiredWeightsAndCapacities=[{"VariantName": "Green", "DesiredWeight": 0.0}]
    )
    cloud.settled("mixed")
    assert Counter(cloud.invoke("mixed")["answer"] for _ in range(8)) == {"blue": 8}


def test_a_shadow_variant_gets_copies_and_its_answers_go_nowhere(cloud: Cloud, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    cloud.model("front", fake_model(answer="front"))
    cloud.model("behind", fake_model(status=500, body="never seen", note=str(notes)))
    described = create(
        cloud,
        "shadowed",
        [variant("Front", "front", 1.0)],
        ShadowProductionVariants=[variant("Behind", "behind", 0.5)],
    )
    assert [one["VariantName"] for one in described["ShadowProductionVariants"]] == ["Behind"]
    for number in range(20):
        assert cloud.invoke("shadowed", str(number).encode())["answer"] == "front"
    wait_for(lambda: notes.exists() and len(notes.read_text().split()) == 10, "a copy of every second request")
    with pytest.raises(ClientError, match="not found"):
        cloud.runtime.invoke_endpoint(EndpointName="shadowed", Body=b"", TargetVariant="Behind")


def serverless(cloud: Cloud, name: str, artifact: bytes, **config: int) -> dict[str, Any]:
    cloud.model(name, artifact)
    return create(
        cloud,
        name,
        [{"VariantName": "AllTraffic", "ModelName": name, "ServerlessConfig": {"MemorySizeInMB": 1024, **config}}],
    )


def test_a_serverless_endpoint_starts_workers_on_demand_throttles_and_ends_them_when_idle(cloud: Cloud) -> None:
    described = serverless(cloud, "bare", fake_model(answer=1, delay=0.4), MaxConcurrency=2)
    (summary,) = described["ProductionVariants"]
    assert summary["CurrentServerlessConfig"] == {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
    assert "CurrentInstanceCount" not in summary
    assert cloud.invoke("bare")["answer"] == 1
    barrier = threading.Barrier(4)

    def call(_: int) -> str:
        client = cloud.client("sagemaker-runtime")
        barrier.wait()
        try:
            client.invoke_endpoint(EndpointName="bare", Body=b"{}")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "answered"

    with ThreadPoolExecutor(4) as pool:
        outcomes = Counter(pool.map(call, range(4)))
    assert outcomes == {"answered": 2, "ThrottlingException": 2}
    workers = cloud.replicas("bare")
    assert len(workers) == 2
    wait_for(lambda: not cloud.replicas("bare"), "the end of the idle workers")
    wait_for(lambda: not any(alive(worker["pid"]) for worker in workers), "the end of their processes")
    assert cloud.invoke("bare")["answer"] == 1, "a cold start"
    limits = Path(f"/proc/{cloud.replicas('bare')[0]['pid']}/limits").read_text()
    assert re.search(r"Max data size\s+1073741824", limits)
    with pytest.raises(ClientError, match="4194304"):
        cloud.runtime.invoke_endpoint(EndpointName="bare", Body=b"x" * (4 * 1024 * 1024 + 1))
    watch = cloud.client("cloudwatch")
    setup = watch.list_metrics(Namespace="AWS/SageMaker", MetricName="ModelSetupTime")
    assert setup["Metrics"], "cold starts are measured"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"InitialInstanceCount": 1}, "takes no InitialInstanceCount"),
        ({"ServerlessConfig": {"MemorySizeInMB": 1500, "MaxConcurrency": 1}}, "1024, 2048"),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1, "ProvisionedConcurrency": 2}},
            "must not be above",
        ),
    ],
)
def test_a_serverless_variant_that_aws_refuses_is_refused(cloud: Cloud, more: dict[str, Any], problem: str) -> None:
    base = {"VariantName": "A", "ModelName": "blue", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    with pytest.raises(ClientError, match=problem):
        cloud.sagemaker.create_endpoint_config(EndpointConfigName="bad", ProductionVariants=[{**base, **more}])


@pytest.fixture
def subscriber() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An HTTP subscriber of topics: its address, and the messages it got."""
    messages: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if body.get("Type") == "Notification":
                messages.append(json.loads(body["Message"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", messages
    server.shutdown()
    thread.join()
    server.server_close()


def asynchronous(cloud: Cloud, name: str, artifact: bytes, **output: Any) -> dict[str, Any]:
    cloud.model(name, artifact)
    return create(
        cloud,
        name,
        [variant("AllTraffic", name)],
        AsyncInferenceConfig={
            "OutputConfig": {"S3OutputPath": "s3://models/out", "S3FailurePath": "s3://models/failed", **output},
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1},
        },
    )


def submit(cloud: Cloud, name: str, body: bytes, **more: Any) -> dict[str, Any]:
    cloud.s3.put_object(Bucket="models", Key=f"in/{name}", Body=body)
    answer: dict[str, Any] = cloud.runtime.invoke_endpoint_async(
        EndpointName=name, InputLocation=f"s3://models/in/{name}", ContentType="application/json", **more
    )
    return answer


def read(cloud: Cloud, location: str) -> bytes | None:
    bucket, _, key = location.removeprefix("s3://").partition("/")
    try:
        content: bytes = cloud.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except cloud.s3.exceptions.NoSuchKey:
        return None
    return content


def test_an_asynchronous_request_ends_in_s3_and_its_topic_is_told(
    cloud: Cloud, subscriber: tuple[str, list[dict[str, Any]]]
) -> None:
    address, messages = subscriber
    topics = cloud.client("sns")
    arn = topics.create_topic(Name="done")["TopicArn"]
    topics.subscribe(TopicArn=arn, Protocol="http", Endpoint=address)
    asynchronous(cloud, "later", fake_model(answer=7), NotificationConfig={"SuccessTopic": arn, "ErrorTopic": arn})
    accepted = submit(cloud, "later", b'{"a": 1}', InferenceId="mine")
    assert accepted["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert accepted["InferenceId"] == "mine"
    output = wait_for(lambda: read(cloud, accepted["OutputLocation"]), "the output")
    assert json.loads(output)["answer"] == 7 and json.loads(output)["length"] == 8
    message = wait_for(lambda: messages, "the message")[0]
    assert (message["invocationStatus"], message["inferenceId"]) == ("Completed", "mine")
    assert message["responseParameters"]["outputLocation"] == accepted["OutputLocation"]

    missing = cloud.runtime.invoke_endpoint_async(EndpointName="later", InputLocation="s3://models/in/nothing")
    reason = wait_for(lambda: read(cloud, missing["FailureLocation"]), "the reason of the failure")
    assert b"s3://models/in/nothing: there is no such object" in reason
    assert wait_for(lambda: messages[1:], "the second message")[0]["invocationStatus"] == "Failed"
    with pytest.raises(ClientError, match="use InvokeEndpointAsync"):
        cloud.invoke("later")
    cloud.endpoint("at-once", fake_model(answer=1))
    with pytest.raises(ClientError, match="use InvokeEndpoint"):
        cloud.runtime.invoke_endpoint_async(EndpointName="at-once", InputLocation="s3://models/in/later")


def test_an_asynchronous_endpoint_scales_to_zero_and_back_when_there_is_work(cloud: Cloud) -> None:
    asynchronous(cloud, "sleeper", fake_model(answer="awake"))
    scaling = cloud.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/sleeper/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=2)
    scaling.put_scaling_policy(
        **target,
        PolicyName="backlog",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 2.0,
            "CustomizedMetricSpecification": {
                "Namespace": "AWS/SageMaker",
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Dimensions": [{"Name": "EndpointName", "Value": "sleeper"}],
                "Statistic": "Average",
            },
            "ScaleInCooldown": 60,
            "ScaleOutCooldown": 60,
        },
    )
    wake = scaling.put_scaling_policy(
        **target,
        PolicyName="wake",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ExactCapacity",
            "Cooldown": 60,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    )["PolicyARN"]
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName="work-without-capacity",
        Namespace="AWS/SageMaker",
        MetricName="HasBacklogWithoutCapacity",
        Dimensions=[{"Name": "EndpointName", "Value": "sleeper"}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
        AlarmActions=[wake],
    )
    first = submit(cloud, "sleeper", b"{}")
    wait_for(lambda: read(cloud, first["OutputLocation"]), "the first output")

    def count() -> int:
        return int(cloud.describe("sleeper")["ProductionVariants"][0]["CurrentInstanceCount"])

    wait_for(lambda: count() == 0, "scaling in to zero")
    second = submit(cloud, "sleeper", b"{}")
    output = wait_for(lambda: read(cloud, second["OutputLocation"]), "the output after waking up")
    assert json.loads(output)["answer"] == "awake"


def test_a_response_stream_comes_part_by_part(cloud: Cloud) -> None:
    cloud.endpoint("stream", fake_model(parts=["Hello", ", ", "world"]))
    answer = cloud.runtime.invoke_endpoint_with_response_stream(EndpointName="stream", Body=b"{}")
    assert answer["ContentType"] == "text/plain" and answer["InvokedProductionVariant"] == "AllTraffic"
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    assert parts == [b"Hello", b", ", b"world"]


def test_a_stream_that_breaks_off_ends_with_a_model_stream_error(cloud: Cloud) -> None:
    cloud.endpoint("broken-stream", fake_model(parts=["Hello"], break_off=True))
    answer = cloud.runtime.invoke_endpoint_with_response_stream(EndpointName="broken-stream", Body=b"{}")
    parts = []
    with pytest.raises(EventStreamError, match="ModelStreamError"):
        parts.extend(event["PayloadPart"]["Bytes"] for event in answer["Body"])
    cloud.endpoint("no-stream", fake_model(status=400, body="no"))
    with pytest.raises(cloud.runtime.exceptions.ModelError):
        cloud.runtime.invoke_endpoint_with_response_stream(EndpointName="no-stream", Body=b"{}")


def test_captured_data_lie_in_s3_as_aws_lays_them(cloud: Cloud) -> None:
    cloud.model("captured", fake_model(answer=3))
    described = create(
        cloud,
        "captured",
        [variant("AllTraffic", "captured")],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": "s3://models/captures/",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        },
    )
    assert described["DataCaptureConfig"]["CaptureStatus"] == "Started"
    cloud.invoke("captured", b"1,2,3", ContentType="text/csv", InferenceId="row-1")
    cloud.invoke("captured", b"\x00\xff", ContentType="image/png")

    def lines() -> list[dict[str, Any]]:
        found = cloud.s3.list_objects_v2(Bucket="models", Prefix="captures/captured/AllTraffic/").get("Contents", [])
        for one in found:
            assert re.search(r"/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl$", one["Key"])
        content = [cloud.s3.get_object(Bucket="models", Key=one["Key"])["Body"].read().decode() for one in found]
        return [json.loads(line) for text in content for line in text.splitlines()]

    first, second = wait_for(lambda: len(lines()) == 2 and lines(), "two captured requests")
    assert first["captureData"]["endpointInput"] == {
        "observedContentType": "text/csv",
        "mode": "INPUT",
        "data": "1,2,3",
        "encoding": "CSV",
    }
    assert first["eventMetadata"]["inferenceId"] == "row-1" and first["eventVersion"] == "0"
    output = first["captureData"]["endpointOutput"]
    assert (output["encoding"], json.loads(output["data"])["answer"]) == ("JSON", 3)
    assert base64.b64decode(second["captureData"]["endpointInput"]["data"]) == b"\x00\xff"


@pytest.mark.parametrize(
    ("variants", "more", "problem"),
    [
        (1, {"AsyncInferenceConfig": {"OutputConfig": {}}}, "S3OutputPath"),
        (2, {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://models/x"}}}, "one variant"),
        (2, {"ShadowProductionVariants": [variant("S", "blue")]}, "exactly one production variant"),
    ],
)
def test_kinds_that_do_not_go_together_are_refused(
    cloud: Cloud, variants: int, more: dict[str, Any], problem: str
) -> None:
    asked = [variant(f"V{number}", "blue") for number in range(variants)]
    with pytest.raises(ClientError, match=problem):
        cloud.sagemaker.create_endpoint_config(EndpointConfigName="bad", ProductionVariants=asked, **more)
