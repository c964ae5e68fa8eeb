"""`slipway batch` without a cloud: the job that is asked for, what is refused before it starts, how it is followed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra import names
from model_build.deployment import Batch
from model_build.errors import UserError
from slipway import batch, batch_data, batch_job
from slipway.batch import Deployed, Kind, Options
from slipway.batch_data import Inputs
from slipway.batch_job import Cloud

DIGEST = "ab" * 32
MODEL = Deployed("news-dev", "news-dev-1", DIGEST, "slipway-dev-1", "ml.c7i.large", None)
LINES = Kind(batch.JSON_LINES, False)
PICTURES = Kind("image/png", False)


def asked(kind: Kind = LINES, model: Deployed = MODEL, **options: Any) -> dict[str, Any]:
    return batch.request("job", model, "s3://in/a/", "s3://out/b/", kind, Options(**options))


class Control:
    """SageMaker's answers, by operation; a list is worked off."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.asked.append((operation, arguments))
            answer = self.answers[operation]
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def refused(message: str, code: str = "ValidationException") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def endpoint(
    address: str = f"s3://slipway-dev-1/news/{DIGEST}.tar.gz", status: str = "InService", **variant: Any
) -> Any:
    return Control(
        describe_endpoint={"EndpointStatus": status, "EndpointConfigName": "live", "FailureReason": "no ping"},
        describe_endpoint_config={"ProductionVariants": [{"ModelName": "news-dev-1", **variant}], "KmsKeyId": "key"},
        describe_model={"PrimaryContainer": {"ModelDataUrl": address}},
    )


def test_the_job_runs_the_model_of_the_endpoints_live_configuration() -> None:
    control = endpoint(InstanceType="ml.c7i.large")
    found = batch.deployed(control, "news-dev")
    assert found == Deployed("news-dev", "news-dev-1", DIGEST, "slipway-dev-1", "ml.c7i.large", "key")
    assert control.asked[1] == ("describe_endpoint_config", {"EndpointConfigName": "live"})
    assert batch.deployed(endpoint(), "news-dev").instance is None


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (endpoint(status="Failed"), "is Failed, so it runs no model yet: no ping"),
        (endpoint("s3://elsewhere/model.tar.gz"), "which this project did not put there"),
        (Control(describe_endpoint=refused("Could not find endpoint")), "Could not find endpoint\n  next: deploy it"),
    ],
)
def test_an_endpoint_that_runs_nothing_of_ours_is_told(control: Any, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as told:
        batch.deployed(control, "news-dev")
    assert said in str(told.value)


def test_json_lines_go_many_to_a_request_and_come_back_line_by_line() -> None:
    found = asked(max_concurrent=4, max_payload=25, instances=3)
    assert (found["BatchStrategy"], found["MaxConcurrentTransforms"], found["MaxPayloadInMB"]) == ("MultiRecord", 4, 25)
    assert found["TransformInput"] == {
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://in/a/"}},
        "ContentType": "application/jsonlines",
        "SplitType": "Line",
        "CompressionType": "None",
    }
    assert found["TransformOutput"] == {
        "S3OutputPath": "s3://out/b",
        "Accept": "application/jsonlines",
        "AssembleWith": "Line",
    }
    assert found["TransformResources"] == {"InstanceType": "ml.c7i.large", "InstanceCount": 3}
    assert {"Key": "slipway:digest", "Value": DIGEST} in found["Tags"]


def test_other_files_are_requests_as_they_are() -> None:
    found = asked(PICTURES)
    assert "BatchStrategy" not in found and "DataProcessing" not in found and "MaxConcurrentTransforms" not in found
    assert found["TransformInput"]["SplitType"] == found["TransformOutput"]["AssembleWith"] == "None"
    assert found["TransformOutput"]["Accept"] == "application/json"


def test_what_is_said_wins_over_what_the_content_suggests() -> None:
    found = asked(strategy="single-record", assemble="none", join=True, instance="ml.m5.large", accept="text/csv")
    assert (found["BatchStrategy"], found["TransformOutput"]["AssembleWith"]) == ("SingleRecord", "None")
    assert found["DataProcessing"] == {"JoinSource": "Input"}
    assert asked(input_filter="$.a", output_filter="$.b")["DataProcessing"] == {
        "InputFilter": "$.a",
        "OutputFilter": "$.b",
    }
    assert (found["TransformResources"]["InstanceType"], found["TransformOutput"]["Accept"]) == (
        "ml.m5.large",
        "text/csv",
    )


def test_the_stacks_key_encrypts_what_is_the_stacks_own() -> None:
    keyed = Deployed("news-dev", "m", DIGEST, "slipway-dev-1", "ml.c7i.large", "key")
    found = batch.request("job", keyed, "s3://in/", "s3://slipway-dev-1/batch/news/out/", LINES, Options())
    assert found["TransformOutput"]["KmsKeyId"] == found["TransformResources"]["VolumeKmsKeyId"] == "key"
    elsewhere = batch.request(
        "job", keyed, "s3://in/", "s3://slipway-dev-10/x/", LINES, Options(instance="ml.g4dn.xlarge")
    )
    assert "KmsKeyId" not in elsewhere["TransformOutput"] and "VolumeKmsKeyId" not in elsewhere["TransformResources"]


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (LINES, {"max_concurrent": 5, "max_payload": 25}, "more than SageMaker's 100 MB"),
        (PICTURES, {"strategy": "multi-record"}, "give --split line too"),
        (PICTURES, {"join": True}, "image/png does not allow"),
        (PICTURES, {"input_filter": "$.a"}, "image/png does not allow"),
    ],
)
def test_what_cannot_be_is_refused_with_the_next_step(kind: Kind, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as told:
        asked(kind, **options)
    assert said in str(told.value)


def test_an_instance_type_that_batch_transform_lacks_is_told_with_near_ones() -> None:
    arm = Deployed("news-dev", "m", DIGEST, "b", "ml.c7g.large", None)
    with pytest.raises(UserError, match=r"no instances of type ml\.c7g\.large, which the endpoint runs on") as told:
        batch.request("job", arm, "s3://in/", "s3://out/", LINES, Options(), ["ml.c7i.large", "ml.m5.large"])
    assert "ml.c7i.large" in told.value.next_step
    serverless = Deployed("news-dev", "m", DIGEST, "b", None, None)
    found = batch.request("job", serverless, "s3://in/", "s3://out/", LINES, Options(), ["ml.m5.large"])
    assert found["TransformResources"]["InstanceType"] == "ml.m5.large"


def test_files_tell_their_content_by_their_endings() -> None:
    assert batch.kind_of(["a.jsonl", "b/c.ndjson"], None) == LINES
    assert batch.kind_of(["a.PNG"], None) == PICTURES
    assert batch.kind_of(["a.jsonl.gz", "b.jsonl.gz"], None) == Kind(batch.JSON_LINES, True)
    assert batch.kind_of(["a.dat"], "application/x-npy") == Kind("application/x-npy", False)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["a.jsonl", "b.dat"], "b.dat: no content type is known"),
        (["a.jsonl", "b.png"], "a.jsonl is application/jsonlines and b.png is image/png"),
        (["a.jsonl", "b.jsonl.gz"], "some inputs end in .gz"),
        (["jsonl"], "no content type is known"),
    ],
)
def test_files_of_two_kinds_or_of_none_are_told(keys: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        batch.kind_of(keys, None)


def test_names_of_jobs_fit_and_begin_as_the_roles_policy_says() -> None:
    moment = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert re.fullmatch(r"news-dev-270102030405-[0-9a-f]{3}", batch.job_name("news", "dev", moment))
    longest = batch.job_name("m" * names.MODEL_LIMIT, "s" * names.STACK_LIMIT)
    assert len(longest) <= names.JOB_LIMIT
    assert longest.startswith(names.batch_jobs("m" * names.MODEL_LIMIT, "s" * names.STACK_LIMIT) + "-")


def test_addresses_that_the_role_may_not_reach_are_told_before_anything_starts() -> None:
    own = "s3://slipway-dev-1/batch/news/job/input/"
    granted = Batch(inputs=("s3://texts/new/",))

    def require(found: Batch | None, source: str, target: str) -> None:
        batch.require_granted("news", found, MODEL, "dev", source, target)

    require(Batch(), own, own)
    require(granted, "s3://texts/new", own)
    require(granted, "s3://texts/new/deep/a.jsonl", own)
    for found, source, target, said in (
        (None, own, own, "not deployed for batch transform"),
        (granted, "s3://texts/newer/", own, "deploy.batch.inputs"),
        (granted, own, "s3://texts/new/", "deploy.batch.outputs"),
        (Batch(), "s3://slipway-dev-1/batch/fashion/", own, "deploy.batch.inputs"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            require(found, source, target)


@pytest.mark.parametrize(
    "folder", ["s3://texts", "s3://texts/new", "s3://texts/*/", "s3://Texts/", "/tmp/", "s3:///a/"]
)
def test_a_spec_names_folders_in_s3_without_wildcards(folder: str) -> None:
    with pytest.raises(ValueError, match="not a folder in S3"):
        Batch(inputs=(folder,))


def test_local_files_are_named_by_their_paths_and_hidden_ones_left_out(tmp_path: Path) -> None:
    for name in ("b/c.jsonl", "a.jsonl", ".git/x", "b/.y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert list(batch_data.local_files(tmp_path)) == ["a.jsonl", "b/c.jsonl"]
    assert list(batch_data.local_files(tmp_path / "a.jsonl")) == ["a.jsonl"]
    for missing, said in ((tmp_path / "no", "no such file"), (tmp_path / ".git/none", "no such file")):
        with pytest.raises(UserError, match=said):
            batch_data.local_files(missing)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no files"):
        batch_data.local_files(tmp_path / "empty")


def test_outputs_are_looked_for_where_sagemaker_writes_them() -> None:
    assert Inputs("b", "in/", {"in/a.png": 1, "in/x/b.png": 1}).outputs() == ["a.png.out", "x/b.png.out"]
    assert Inputs("b", "in/a.png", {"in/a.png": 1}).outputs() == ["a.png.out"]
    assert Inputs("b", "in/a", {"in/abc.png": 1}).uri == "s3://b/in/a"


def test_outputs_replace_nothing(tmp_path: Path) -> None:
    batch_data.require_free(tmp_path / "new", ["a.out"])
    (tmp_path / "a.out").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        batch_data.require_free(tmp_path, ["b.out", "a.out"])
    with pytest.raises(UserError, match="is a file"):
        batch_data.require_free(tmp_path / "a.out", ["b.out"])


@pytest.mark.parametrize("address", ["oss://bucket/x", "https://bucket/x"])
def test_other_stores_are_refused(address: str) -> None:
    with pytest.raises(UserError, match="reads and writes S3"):
        batch_data.is_address(address)


def ended(status: str, **more: Any) -> dict[str, Any]:
    begun = datetime(2027, 1, 1, tzinfo=UTC)
    return {
        "TransformJobName": "job",
        "TransformJobStatus": status,
        "TransformStartTime": begun,
        "TransformEndTime": begun + timedelta(seconds=90),
        "TransformResources": {"InstanceType": "ml.c7i.large", "InstanceCount": 2},
        **more,
    }


def test_a_job_is_followed_to_its_end() -> None:
    running = {"TransformJobName": "job", "TransformJobStatus": "InProgress"}
    control = Control(describe_transform_job=[running, running, ended("Completed")])
    there = iter([{}, {"a": 500_000}, {"a": 500_000, "b": 1_500_000}])
    shown: list[str] = []
    found = batch_job.follow(
        Cloud(control, None, 0), "job", 2, lambda: next(there), lambda state: shown.append(str(state))
    )
    assert found["TransformJobStatus"] == "Completed"
    assert shown == [
        "InProgress: 0 of 2 files, 0.00 MB of outputs",
        "InProgress: 1 of 2 files, 0.50 MB of outputs",
        "Completed: 2 of 2 files, 2.00 MB of outputs",
    ]


def test_a_stopped_job_is_waited_for_and_one_that_ended_by_itself_is_no_error() -> None:
    control = Control(
        stop_transform_job={},
        describe_transform_job=[{"TransformJobStatus": "Stopping"}, {"TransformJobStatus": "Stopped"}],
    )
    assert batch_job.stop(Cloud(control, None, 0), "job") == "Stopped"
    over = Control(stop_transform_job=refused("is Completed"), describe_transform_job=ended("Completed"))
    assert batch_job.stop(Cloud(over, None, 0), "job") == "Completed"
    stuck = Control(
        stop_transform_job=refused("not authorized"), describe_transform_job={"TransformJobStatus": "InProgress"}
    )
    with pytest.raises(UserError, match="could not be stopped: not authorized"):
        batch_job.stop(Cloud(stuck, None, 0), "job")


def test_a_failure_is_told_with_the_last_lines_and_the_next_step() -> None:
    logs = Control(
        describe_log_streams={"logStreams": [{"logStreamName": "job/i-1"}, {"logStreamName": "job/i-1/data-log"}]},
        get_log_events=[{"events": [{"message": "loading\n"}]}, {"events": [{"message": "in/a: Bad record"}]}],
    )
    found = ended("Failed", FailureReason="ClientError: See job logs for more information")
    told = str(batch_job.failure(Cloud(None, logs), "news", found))
    assert told == (
        "job failed: ClientError: See job logs for more information\n  loading\n  in/a: Bad record\n"
        "  next: mend the record, and run it again; files without a mistake have their outputs"
    )
    assert logs.asked[1][1]["startFromHead"] is False


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("ClientError: s3://a/b: the model answered 415: content type", "--content-type"),
        ('ClientError: ensure that the role has "s3:ListBucket" permissions', "deploy.batch"),
        ("AlgorithmError: the model did not pass its health check", "slipway diagnose news"),
        ("InternalServerError: try again", "slipway invoke news"),
    ],
)
def test_the_next_step_is_that_of_the_reason(reason: str, step: str) -> None:
    logs = Control(describe_log_streams=refused("no such group", "ResourceNotFoundException"))
    assert step in batch_job.failure(Cloud(None, logs), "news", ended("Failed", FailureReason=reason)).next_step


def test_who_may_not_start_jobs_is_told_where_the_policy_is() -> None:
    control = Control(create_transform_job=refused("not authorized", "AccessDeniedException"))
    with pytest.raises(UserError, match="not authorized") as told:
        batch_job.start(Cloud(control, None), asked())
    assert "docs/batch.md" in told.value.next_step


def test_the_cost_is_unknown_and_the_price_of_an_endpoint_is_no_more_than_a_hint() -> None:
    found = ended("Completed")
    assert batch_job.seconds(found) == 90
    assert re.fullmatch(r"cost unknown: .* would be 0\.\d{4} USD", batch_job.cost(found, "us-east-1"))
    assert batch_job.cost(found, "mars-north-1") == "cost unknown"
