"""Processing jobs of the local AWS: files in, a command in place of a container, its lines, files out, and its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import localcloud_rig
import pytest
from botocore.exceptions import ClientError
from localcloud_rig import Cloud
from processes import alive, wait_for

from localcloud import daemon

pytestmark = pytest.mark.contract

GROUP = "/aws/sagemaker/ProcessingJobs"
IN, OUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
COPY = """
import os, pathlib, shutil, sys
source, target = map(pathlib.Path, sys.argv[1:])
print("copying", os.environ["WHAT"], flush=True)
shutil.copytree(source, target, dirs_exist_ok=True)
message = pathlib.Path(os.environ["MESSAGE"])
message.write_text("copied " + ", ".join(sorted(p.name for p in source.rglob("*") if p.is_file())))
"""
WAIT = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
target = pathlib.Path(sys.argv[1])
(target / "pids").write_text(f"{os.getpid()} {child.pid}")
print("waiting", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with localcloud_rig.running(tmp_path_factory.mktemp("processing")) as cloud:
        yield cloud


def start(cloud: Cloud, name: str, program: str, *arguments: str, **more: Any) -> None:
    cloud.s3.put_object(Bucket="models", Key=f"{name}/code/run.py", Body=program.encode())
    inputs = [("code", f"{IN}/code", f"{name}/code", "S3Prefix"), *more.pop("inputs", [])]
    mode = more.pop("mode", "EndOfJob")
    request: dict[str, Any] = {
        "ProcessingJobName": name,
        "RoleArn": cloud.role,
        "AppSpecification": {
            "ImageUri": localcloud_rig.IMAGE,
            "ContainerEntrypoint": ["python3", f"{IN}/code/run.py"],
            "ContainerArguments": list(arguments) or [OUT],
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
        },
        "ProcessingInputs": [
            {
                "InputName": key,
                "S3Input": {"S3Uri": f"s3://models/{at}", "LocalPath": path, "S3DataType": kind, "S3InputMode": "File"},
            }
            for key, path, at, kind in inputs
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "made",
                    "S3Output": {"S3Uri": f"s3://models/{name}/made", "LocalPath": OUT, "S3UploadMode": mode},
                }
            ]
        },
    }
    cloud.sagemaker.create_processing_job(**request | more)


def describe(cloud: Cloud, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = cloud.sagemaker.describe_processing_job(ProcessingJobName=name)
    return answer


def ended(cloud: Cloud, name: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        answer = describe(cloud, name)
        return answer if answer["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    result: dict[str, Any] = wait_for(done, f"the end of {name}")
    return result


def lines(cloud: Cloud, name: str) -> list[str]:
    logs = cloud.client("logs")
    (stream,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
    assert stream["logStreamName"].startswith(f"{name}/algo-1-")
    events = logs.get_log_events(logGroupName=GROUP, logStreamName=stream["logStreamName"], startFromHead=True)
    return [event["message"] for event in events["events"]]


def read(cloud: Cloud, key: str) -> bytes:
    content: bytes = cloud.s3.get_object(Bucket="models", Key=key)["Body"].read()
    return content


def pids(cloud: Cloud, name: str) -> list[int]:
    def found() -> list[int] | None:
        try:
            return [int(pid) for pid in read(cloud, f"{name}/made/pids").split()]
        except ClientError:
            return None

    numbers: list[int] = wait_for(found, f"{name} telling its processes")
    return numbers


def test_a_job_has_its_files_its_variables_and_its_lines(cloud: Cloud) -> None:
    for key in ("a.txt", "deep/b.txt", "unlisted.txt"):
        cloud.s3.put_object(Bucket="models", Key=f"data/{key}", Body=key.encode())
    manifest = [{"prefix": "s3://models/data/"}, "a.txt", "deep/b.txt"]
    cloud.s3.put_object(Bucket="models", Key="copy.manifest", Body=json.dumps(manifest).encode())
    start(
        cloud,
        "copy",
        COPY,
        f"{IN}/data",
        OUT,
        inputs=[("data", f"{IN}/data", "copy.manifest", "ManifestFile")],
        Environment={"WHAT": "files", "MESSAGE": "/opt/ml/output/message"},
        Tags=[{"Key": "for", "Value": "test"}],
    )
    job = ended(cloud, "copy")
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "copied a.txt, b.txt")
    assert job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    assert lines(cloud, "copy") == ["copying files"]
    assert read(cloud, "copy/made/deep/b.txt") == b"deep/b.txt"
    with pytest.raises(ClientError):
        read(cloud, "copy/made/unlisted.txt")
    assert cloud.sagemaker.list_tags(ResourceArn=job["ProcessingJobArn"])["Tags"] == [{"Key": "for", "Value": "test"}]
    listed = cloud.sagemaker.list_processing_jobs(NameContains="copy", StatusEquals="Completed")
    assert [one["ProcessingJobName"] for one in listed["ProcessingJobSummaries"]] == ["copy"]
    assert not (cloud.directory / "processing" / "copy").exists(), "the instance's disk stayed"


def test_a_job_that_fails_says_so_and_uploads_nothing(cloud: Cloud) -> None:
    program = "import sys, pathlib; pathlib.Path(sys.argv[1], 'x').write_text('x'); sys.exit('no such thing')"
    start(cloud, "failing", program)
    job = ended(cloud, "failing")
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information, exit code: 1"
    assert lines(cloud, "failing") == ["no such thing"]
    assert "Contents" not in cloud.s3.list_objects_v2(Bucket="models", Prefix="failing/made")


def test_a_job_whose_input_is_missing_fails(cloud: Cloud) -> None:
    start(cloud, "inputless", COPY, inputs=[("data", f"{IN}/data", "nothing-here", "S3Prefix")])
    job = ended(cloud, "inputless")
    assert "Data download failed" in job["FailureReason"]
    assert "ProcessingStartTime" not in job


def test_a_job_is_stopped_with_all_that_it_started(cloud: Cloud) -> None:
    start(cloud, "stopped", WAIT, mode="Continuous")
    running = pids(cloud, "stopped")
    cloud.sagemaker.stop_processing_job(ProcessingJobName="stopped")
    assert ended(cloud, "stopped")["ProcessingJobStatus"] == "Stopped"
    assert not any(map(alive, running))
    with pytest.raises(ClientError, match="is in status Stopped"):
        cloud.sagemaker.stop_processing_job(ProcessingJobName="stopped")


def test_a_job_may_take_no_longer_than_it_says(cloud: Cloud) -> None:
    start(cloud, "long", WAIT, mode="Continuous", StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = ended(cloud, "long")
    assert job["ProcessingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds" in job["FailureReason"]
    assert not any(map(alive, pids(cloud, "long")))


def cluster(count: int, instance: str) -> dict[str, Any]:
    return {"ClusterConfig": {"InstanceCount": count, "InstanceType": instance, "VolumeSizeInGB": 1}}


OUTSIDE = {"OutputName": "o", "S3Output": {"S3Uri": "s3://models/o", "LocalPath": "/srv/o", "S3UploadMode": "EndOfJob"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"RoleArn": "arn:aws:iam::123456789012:role/nobody"}, "Could not assume role"),
        ({"AppSpecification": {"ImageUri": "i"}}, "needs ContainerEntrypoint"),
        ({"ProcessingResources": cluster(2, "ml.m5.large")}, "on one instance"),
        ({"ProcessingResources": cluster(1, "ml.none")}, "enum value set"),
        ({"ExperimentConfig": {"TrialName": "t"}}, "does not emulate ExperimentConfig"),
        ({"ProcessingOutputConfig": {"Outputs": [OUTSIDE]}}, "below /opt/ml/processing"),
    ],
)
def test_what_a_job_cannot_be_is_refused(cloud: Cloud, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match=said):
        start(cloud, "refused", COPY, **change)


def test_jobs_are_known_after_a_restart_and_end_with_the_server(cloud: Cloud) -> None:
    start(cloud, "before", WAIT, mode="Continuous")
    running = pids(cloud, "before")
    cloud.restart()
    wait_for(lambda: not any(map(alive, running)), "the end of the killed server's job")
    job = describe(cloud, "before")
    assert job["ProcessingJobStatus"] == "Failed"
    assert "Start the job again" in job["FailureReason"]
    start(cloud, "last", WAIT, mode="Continuous")
    running = pids(cloud, "last")
    daemon.stop(cloud.directory)
    assert not any(map(alive, running))
