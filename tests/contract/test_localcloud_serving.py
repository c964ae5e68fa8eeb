"""The local AWS with what it really runs: `python -m serving` on ONNX and LiteRT models."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import litert_models
import pytest
from localcloud_rig import REAL, Cloud, running
from serving_artifacts import write_artifact

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("localcloud"), REAL) as cloud:
        yield cloud


def packed(directory: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(directory, arcname=".")
    return stream.getvalue()


def test_a_model_predicts_through_plain_boto3_and_its_errors_come_back(cloud: Cloud, tmp_path: Path) -> None:
    described = cloud.endpoint("tensor", packed(write_artifact(tmp_path / "model", "tensor")), count=2)
    assert described["EndpointStatus"] == "InService", described.get("FailureReason")

    def invoke(body: bytes, content_type: str) -> bytes:
        answer = cloud.runtime.invoke_endpoint(EndpointName="tensor", Body=body, ContentType=content_type)
        content: bytes = answer["Body"].read()
        return content

    answer = json.loads(invoke(b'{"inputs": {"x": [[1, 0, 2]]}}', "application/json"))
    assert answer == {"outputs": {"output": [[11.0, 14.0]]}}
    for body, content_type, status in ((b"a,b", "text/csv", 415), (b"{", "application/json", 400)):
        with pytest.raises(cloud.runtime.exceptions.ModelError) as caught:
            invoke(body, content_type)
        assert caught.value.response["OriginalStatusCode"] == status
        assert "error" in json.loads(caught.value.response["OriginalMessage"])


def test_a_text_is_generated_and_streamed_token_by_token(cloud: Cloud, tmp_path: Path) -> None:
    described = cloud.endpoint("text", packed(write_artifact(tmp_path / "model", "text-generation")))
    assert described["EndpointStatus"] == "InService", described.get("FailureReason")
    asked = {"EndpointName": "text", "ContentType": "application/json"}
    answer = cloud.runtime.invoke_endpoint(**asked, Body=b'{"inputs": "goal", "parameters": {"num_beams": 2}}')
    assert json.loads(answer["Body"].read()) == [{"generated_text": "goal match"}]
    streamed = cloud.runtime.invoke_endpoint_with_response_stream(**asked, Body=b'{"inputs": "goal", "stream": true}')
    assert streamed["ContentType"] == "text/event-stream"
    content = b"".join(event["PayloadPart"]["Bytes"] for event in streamed["Body"])
    events = [json.loads(line.removeprefix(b"data:")) for line in content.split(b"\n\n")[:-1]]
    assert [event["token"]["text"] for event in events] == ["goal", " match", ""]
    assert events[-1]["generated_text"] == "goal match"
    with pytest.raises(cloud.runtime.exceptions.ModelError):
        cloud.runtime.invoke_endpoint_with_response_stream(**asked, Body=b'{"inputs": ["goal"], "stream": true}')


def test_a_litert_model_answers_through_its_endpoint(cloud: Cloud, tmp_path: Path) -> None:
    described = cloud.endpoint("litert", packed(litert_models.write_artifact(tmp_path / "model")))
    assert described["EndpointStatus"] == "InService", described.get("FailureReason")
    answer = cloud.runtime.invoke_endpoint(
        EndpointName="litert", Body=b'{"inputs": {"x": [[1, 0, 2], [0, 1, 0]]}}', ContentType="application/json"
    )
    assert json.loads(answer["Body"].read()) == {"outputs": {"output": [[11.0, 14.0], [3.0, 4.0]]}}


def test_a_model_file_that_is_missing_fails_the_endpoint_with_serving_s_own_words(cloud: Cloud, tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "model", "tensor")
    (directory / "model.onnx").unlink()
    described = cloud.endpoint("incomplete", packed(directory))
    assert described["EndpointStatus"] == "Failed"
    assert "model.onnx" in described["FailureReason"]
