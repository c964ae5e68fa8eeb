"""`slipway batch` against the local AWS with real models: outputs as the endpoint answers, or why there are none."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from localcloud_rig import FAKE, IMAGE, REAL, Cloud, archive, fake_model, running
from processes import wait_for
from serving_artifacts import PROJECT, png, write_artifact

from slipway import cli

pytestmark = pytest.mark.contract

BUCKET = "slipway-local-0a1b2c3"
SPECS = {
    "topics": """name: topics
task: text-classification
labels: [sport, business]
text: {tokenizer: topics/tokenizer.json, max_length: 8}
source: {onnx: {path: topics/model.onnx}}
optimize: {candidates: [[]]}
""",
    "photos": """name: photos
task: image-classification
labels: [sport, business]
image: {size: [4, 4], mode: L, mean: [0.5], std: [0.25]}
source: {onnx: {path: photos/model.onnx}}
optimize: {candidates: [[]]}
""",
}
TASKS = {"topics": "text-classification", "photos": "image-classification"}
WORDS = ("goal", "match", "market", "shares")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("project")
    (root / "Pulumi.yaml").write_text("name: slipway\n")
    (root / "specs").mkdir()
    for name, spec in SPECS.items():
        (root / "specs" / f"{name}.yaml").write_text(spec)
        write_artifact(root / name, TASKS[name], code=False)
    return root


@pytest.fixture(scope="module")
def cloud(root: Path) -> Iterator[Cloud]:
    with running(root / ".slipway/local", REAL) as cloud:
        cloud.s3.create_bucket(Bucket=BUCKET)
        for name in SPECS:
            deploy(cloud, name, archive({path.name: path.read_bytes() for path in (root / name).iterdir()}))
        yield cloud


def deploy(cloud: Cloud, name: str, artifact: bytes) -> None:
    """As `infra` does: the artifact by its digest, and names of the stack."""
    key = f"{name}/{hashlib.sha256(artifact).hexdigest()}.tar.gz"
    cloud.s3.put_object(Bucket=BUCKET, Key=key, Body=artifact)
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/{key}"}
    cloud.sagemaker.create_model(ModelName=f"{name}-local-1", ExecutionRoleArn=cloud.role, PrimaryContainer=container)
    cloud.config(f"{name}-local-1", f"{name}-local-1")
    cloud.sagemaker.create_endpoint(EndpointName=f"{name}-local", EndpointConfigName=f"{name}-local-1")
    assert cloud.settled(f"{name}-local")["EndpointStatus"] == "InService"


def batch(root: Path, name: str, source: object, target: object, *options: str) -> int:
    return cli.run(["--root", str(root), "batch", name, "--input", str(source), "--output", str(target), *options])


def texts(count: int) -> list[str]:
    """So many requests, no two neighbours of one answer."""
    return [json.dumps({"inputs": " ".join(WORDS[(n + k) % 4] for k in range(1 + n % 7))}) for n in range(count)]


def body(cloud: Cloud, bucket: str, key: str) -> bytes:
    content: bytes = cloud.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def test_each_line_is_answered_in_order_as_the_endpoint_answers_it(
    root: Path, cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = texts(90)
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/many.jsonl").write_text("\n".join(lines) + "\n\n")
    (tmp_path / "in/deep/few.jsonl").write_text("\n".join(lines[:3]))
    (tmp_path / "in/.hidden").write_text("not for the model")
    assert batch(root, "topics", tmp_path / "in", tmp_path / "out", "--instances", "2") == 0
    answers = [json.loads(line) for line in (tmp_path / "out/many.jsonl.out").read_text().splitlines()]
    assert len({json.dumps(answer) for answer in answers}) > 3
    alone = [cloud.invoke("topics-local", line.encode(), ContentType="application/json") for line in lines]
    assert answers == alone
    assert (tmp_path / "out/deep/few.jsonl.out").read_text().count("\n") == 3
    told = capsys.readouterr()
    model = cloud.sagemaker.describe_model(ModelName="topics-local-1")
    digest = model["PrimaryContainer"]["ModelDataUrl"].rpartition("/")[2][:12]
    assert f"artifact {digest} of topics-local on 2 × ml.c7i.large" in told.err
    assert "2 of 2 files" in told.err
    assert "2 output(s), 0.0" in told.out and "nothing to pay" in told.out
    assert batch(root, "topics", tmp_path / "in", tmp_path / "out") == 1
    assert "few.jsonl.out exists already" in capsys.readouterr().err


def test_a_file_is_a_record_where_it_is_not_split(root: Path, cloud: Cloud) -> None:
    pictures = {f"{n}.png": png(np.full((4, 4), 60 * n, np.uint8)) for n in range(4)}
    for name, picture in pictures.items():
        cloud.s3.put_object(Bucket=BUCKET, Key=f"batch/photos/pictures/{name}", Body=picture)
    prefix = f"s3://{BUCKET}/batch/photos"
    assert batch(root, "photos", f"{prefix}/pictures/", f"{prefix}/labels/", "--max-concurrent", "2") == 0
    for name, picture in pictures.items():
        answer = json.loads(body(cloud, BUCKET, f"batch/photos/labels/{name}.out"))
        assert answer == cloud.invoke("photos-local", picture, ContentType="image/png")


def test_records_are_joined_with_their_answers(root: Path, cloud: Cloud, tmp_path: Path) -> None:
    lines = texts(5)
    packed = tmp_path / "texts.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert batch(root, "topics", packed, tmp_path / "first", "--join", "--output-filter", "$.SageMakerOutput[0]") == 0
    assert "label" in json.loads((tmp_path / "first/texts.jsonl.gz.out").read_text().splitlines()[0])
    assert batch(root, "topics", packed, tmp_path / "out", "--join") == 0
    rows = [json.loads(line) for line in (tmp_path / "out/texts.jsonl.gz.out").read_text().splitlines()]
    assert [row["inputs"] for row in rows] == [json.loads(line)["inputs"] for line in lines]
    assert all(row["SageMakerOutput"][0]["label"] in ("sport", "business") for row in rows)


def test_a_bad_record_fails_the_job_with_its_reason_and_other_files_have_their_outputs(
    root: Path, cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/good.jsonl").write_text("\n".join(texts(3)))
    (tmp_path / "in/bad.jsonl").write_text("\n".join([*texts(2), '{"text": "goal"}', *texts(2)]))
    assert batch(root, "topics", tmp_path / "in", tmp_path / "out") == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.jsonl.out"]
    said = capsys.readouterr().err
    assert "failed: ClientError: s3://" in said and "line 3: the body must be a JSON object" in said
    assert "[sagemaker logs]" in said and "next: mend the record" in said


def test_an_interrupt_stops_the_job_and_says_so(root: Path, cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "long.jsonl").write_text("\n".join(texts(200_000)))
    command = [sys.executable, "-m", "slipway", "--root", str(root), "batch", "topics", "--strategy", "single-record"]
    command += ["--input", str(tmp_path / "long.jsonl"), "--output", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "InProgress: 0 of 1" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            process.send_signal(signal.SIGINT)
            said += process.stderr.read()
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert "is Stopped; 0 of 1 outputs" in said
    last = cloud.sagemaker.list_transform_jobs(SortBy="CreationTime", MaxResults=1)["TransformJobSummaries"][0]
    assert last["TransformJobStatus"] == "Stopped"


def transform(cloud: Cloud, name: str, source: str, **more: Any) -> dict[str, Any]:
    """A job by the API, and its end. `Input` and `Output` are what their structures have besides."""
    data = {"S3DataType": "S3Prefix", "S3Uri": source}
    cloud.sagemaker.create_transform_job(
        TransformJobName=name,
        TransformInput={"DataSource": {"S3DataSource": data | more.pop("Data", {})}, **more.pop("Input", {})},
        TransformOutput={"S3OutputPath": f"s3://models/{name}", **more.pop("Output", {})},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **({"ModelName": "topics-local-1"} | more),
    )
    return ended(cloud, name)


def ended(cloud: Cloud, name: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        found: dict[str, Any] = cloud.sagemaker.describe_transform_job(TransformJobName=name)
        return found if found["TransformJobStatus"] not in ("InProgress", "Stopping") else None

    result: dict[str, Any] = wait_for(done, f"the end of {name}")
    return result


def test_a_manifest_names_the_inputs_and_filters_choose_what_is_sent_and_kept(cloud: Cloud) -> None:
    records = [{"id": n, "request": json.loads(text)} for n, text in enumerate(texts(3))]
    content = "\n".join(map(json.dumps, records)).encode()
    cloud.s3.put_object(Bucket="models", Key="some/where/a.jsonl", Body=content)
    manifest = json.dumps([{"prefix": "s3://models/some/"}, "where/a.jsonl"]).encode()
    cloud.s3.put_object(Bucket="models", Key="manifest", Body=manifest)
    found = transform(
        cloud,
        "listed",
        "s3://models/manifest",
        Data={"S3DataType": "ManifestFile"},
        Input={"ContentType": "application/jsonlines", "SplitType": "Line"},
        Output={"Accept": "application/jsonlines", "AssembleWith": "Line"},
        DataProcessing={
            "InputFilter": "$.request",
            "JoinSource": "Input",
            "OutputFilter": "$['id','SageMakerOutput']",
        },
    )
    assert (found["TransformJobStatus"], found.get("FailureReason")) == ("Completed", None)
    assert found["TransformStartTime"] <= found["TransformEndTime"]
    rows = [json.loads(line) for line in body(cloud, "models", "listed/where/a.jsonl.out").splitlines()]
    assert [sorted(row) for row in rows] == [["SageMakerOutput", "id"]] * 3
    assert [row["id"] for row in rows] == [0, 1, 2]


def test_no_input_fails_the_job_as_on_aws(cloud: Cloud) -> None:
    found = transform(cloud, "nothing", "s3://models/nowhere/")
    assert found["TransformJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("ClientError: No S3 objects found under S3 URL")


def test_a_model_that_fails_and_a_server_that_ends_are_told_apart(tmp_path: Path) -> None:
    with running(tmp_path, FAKE) as cloud:
        cloud.s3.put_object(Bucket="models", Key="in/a", Body=b"x")
        cloud.model("broken", fake_model(status=500, body="out of order"))
        cloud.model("slow", fake_model(delay=60))
        once = {"InvocationsMaxRetries": 1}
        found = transform(cloud, "one", "s3://models/in/", ModelName="broken", ModelClientConfig=once)
        assert found["FailureReason"].startswith("AlgorithmError: s3://models/in/a, record 1: the model answered 500")
        assert "2 times" in found["FailureReason"]
        with pytest.raises(cloud.sagemaker.exceptions.ResourceInUse):
            transform(cloud, "one", "s3://models/in/", ModelName="broken")
        once = {"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 0}
        found = transform(cloud, "late", "s3://models/in/", ModelName="slow", ModelClientConfig=once)
        assert "did not answer within 1 seconds" in found["FailureReason"]
        cloud.sagemaker.create_transform_job(
            TransformJobName="cut",
            ModelName="slow",
            TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://models/in/"}}},
            TransformOutput={"S3OutputPath": "s3://models/out"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        cloud.restart()
        assert "the local AWS ended while the job ran" in ended(cloud, "cut")["FailureReason"]
        assert ended(cloud, "one")["FailureReason"].startswith("AlgorithmError")
