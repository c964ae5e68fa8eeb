"""New versions that fail, each in its own way, by `pulumi up` on the real engine: it says why, and the old one serves.

One stack and one client for all of them, on a clock of sixty times the wall's. Which fleet a request was for is told by
CloudWatch's metrics of each endpoint configuration, which an answer alone does not say.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from built_models import write_model
from infra_project import Project, project
from localcloud_rig import FAKE, fake_model
from processes import wait_for

from localcloud.traffic.arrivals import Curve, Phase, arrivals
from localcloud.traffic.open_loop import Answered, OpenLoop
from toolchain.engine import Engine

pytestmark = pytest.mark.contract

SPEED = 60
NAME = "news-local"
DEPLOY: dict[str, Any] = {
    "instances": {"min": 2, "max": 2},
    "rollout": {"type": "canary", "size_percent": 50, "interval": "10m"},
}
QUICK = DEPLOY["rollout"] | {"interval": "1m"}
FAILURES = ("Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors")
BODY = b"{}"


@dataclass
class Stage:
    """The stack, the version that serves in it, and the client that asks it all the time."""

    made: Project
    client: OpenLoop
    good: bytes

    def deploy(self, artifact: bytes, **deploy: Any) -> tuple[int, str]:
        write_model(self.made.root, "news", artifact=artifact, deploy=DEPLOY | deploy)
        return self.up()

    def up(self) -> tuple[int, str]:
        return self.made.run("up", "--yes", "--skip-preview", "--stack", "local")

    def configuration(self) -> str:
        return str(self.made.cloud.describe(NAME)["EndpointConfigName"])

    def replicas(self) -> set[str]:
        return {replica["id"] for replica in self.made.cloud.replicas(NAME)}

    def await_answers(self, count: int) -> list[Answered]:
        """So many further ones."""
        before = len(self.client.answers)
        wait_for(lambda: len(self.client.answers) >= before + count, "answers")
        return self.client.answers[before:]

    def measured(self) -> dict[str, dict[str, float]]:
        """Endpoint configuration → metric → its sum since the beginning."""
        cloudwatch, now = self.made.cloud.client("cloudwatch"), datetime.now(UTC)
        sums: dict[str, dict[str, float]] = {}
        for metric in ("Invocations", *FAILURES):
            asked = {"Namespace": "AWS/SageMaker", "MetricName": metric}
            for one in cloudwatch.list_metrics(**asked)["Metrics"]:
                named = {item["Name"]: item["Value"] for item in one["Dimensions"]}
                if "EndpointConfigName" not in named:
                    continue
                points = cloudwatch.get_metric_statistics(
                    **asked,
                    Dimensions=one["Dimensions"],
                    StartTime=now - timedelta(days=1),
                    EndTime=now + timedelta(days=2),  # its clock is ahead
                    Period=3600,
                    Statistics=["Sum"],
                )["Datapoints"]
                sums.setdefault(named["EndpointConfigName"], {})[metric] = sum(point["Sum"] for point in points)
        return sums


@contextmanager
def load(made: Project, rate: float) -> Iterator[OpenLoop]:
    """An open-loop client beside the block; it ends when every request was answered."""
    client = OpenLoop(f"{made.cloud.server.endpoint}/endpoints/{NAME}/invocations", BODY, {})
    curve, over = Curve([Phase("steady", 1.0, rate)]), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(client.run(arrivals(curve, 1.0, 1, even=True), over.is_set)))
    thread.start()
    try:
        yield client
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Stage]:
    """Each request counts as often as the clock is faster, so that minutes are as full as they would be."""
    root = tmp_path_factory.mktemp("failing") / "project"
    arguments = (*FAKE, "--speed", f"{SPEED}", "--request-weight", f"{SPEED}", "--start-limit", "5")
    with project(root, engine, arguments) as made:
        good = fake_model(answer="good")
        write_model(root, "news", artifact=good, deploy=DEPLOY)
        made.up()
        with load(made, 20) as client:
            yield Stage(made, client, good)


ALARM = r"CloudWatch alarm news-local-{} is in ALARM state: Threshold Crossed"
NOT_WELL = r"did not pass the ping health check.* Reason: "


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        pytest.param({"hang": True}, NOT_WELL + "it did not answer /ping with 200 within 5 seconds", id="never-well"),
        pytest.param({"silent": True}, NOT_WELL + "it did not answer /ping with 200 within 5 seconds", id="hangs"),
        pytest.param(
            {"crash": "model.onnx: no such operator"}, NOT_WELL + "model.onnx: no such operator", id="crashes"
        ),
        pytest.param({"memory_mb": 200}, NOT_WELL + "MemoryError", id="out-of-memory"),
        pytest.param({"killed": True}, NOT_WELL + "it was killed by SIGKILL, as Linux kills where memory", id="killed"),
        pytest.param({"delay": 0.8}, ALARM.format("latency"), id="slow"),
        pytest.param({"status": 500, "body": "bad"}, ALARM.format("5xx"), id="5xx"),
        pytest.param({"status": 400, "body": "bad"}, ALARM.format("model-errors"), id="4xx"),
        pytest.param({"die_on": BODY.decode()}, ALARM.format("5xx"), id="dies-of-requests"),
        pytest.param({"dies_after": 0.1}, ALARM.format("5xx"), id="dies-by-itself"),
    ],
)
def test_a_version_that_fails_is_rolled_back_with_the_reason(
    stage: Stage, behaviour: dict[str, Any], reason: str
) -> None:
    assert_failing(stage, fake_model(**behaviour), "endpoint news-local: SageMaker rolled the update back", reason)


def test_an_artifact_that_is_no_archive_is_rolled_back_with_the_reason(stage: Stage) -> None:
    assert_failing(stage, b"no archive", "SageMaker rolled the update back", "Failed to extract model data archive")


def test_an_artifact_that_is_not_in_the_bucket_any_more_is_named(stage: Stage) -> None:
    with vanished(stage):
        assert_failing(stage, stage.good, "Could not find model data at s3://", environment={"MODE": "other"})


def test_further_instances_of_an_artifact_that_vanished_are_rolled_back_with_the_reason(stage: Stage) -> None:
    code, said = stage.deploy(stage.good, rollout=QUICK)  # so that its SageMaker model stays
    assert code == 0, said
    with vanished(stage):
        told = "SageMaker rolled the update back", "Failed to download model data"
        assert_failing(stage, stage.good, *told, instances={"min": 3, "max": 3})


@contextmanager
def vanished(stage: Stage) -> Iterator[None]:
    """Without the artifact that serves: the same one is not uploaded again."""
    s3 = stage.made.cloud.client("s3")
    bucket, name = stage.made.outputs()["bucket"], hashlib.sha256(stage.good).hexdigest()
    (key,) = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"] if name in one["Key"]]
    marker = s3.delete_object(Bucket=bucket, Key=key)["VersionId"]
    yield
    s3.delete_object(Bucket=bucket, Key=key, VersionId=marker)


def test_an_artifact_that_was_changed_after_its_build_deploys_nothing(stage: Stage) -> None:
    before, replicas = stage.configuration(), stage.replicas()
    write_model(stage.made.root, "news", artifact=fake_model(answer="built"), deploy=DEPLOY)
    (stage.made.root / "build/news/model.tar.gz").write_bytes(fake_model(answer="edited"))
    code, said = stage.up()
    assert code != 0
    assert "nothing was deployed, because of one problem" in said
    assert "model.tar.gz" in said
    assert "Traceback" not in said
    assert (stage.configuration(), stage.replicas()) == (before, replicas)
    assert all(answer.good for answer in stage.await_answers(5))


def test_the_next_good_version_goes_through_and_clears_up_what_failed_ones_left(stage: Stage) -> None:
    better = fake_model(answer="better")
    code, said = stage.deploy(better, rollout=QUICK)
    assert code == 0, said
    stage.good = better
    assert stage.made.cloud.invoke(NAME)["answer"] == "better"
    sagemaker = stage.made.cloud.sagemaker
    assert len(sagemaker.list_models()["Models"]) == 1
    assert len(sagemaker.list_endpoint_configs()["EndpointConfigs"]) == 1
    assert stage.made.unchanged()


def assert_failing(stage: Stage, artifact: bytes, *said: str, **deploy: Any) -> None:
    """`pulumi up` of it fails and says so; the old version serves, with its processes, and failed no request."""
    before, replicas, seen = stage.configuration(), stage.replicas(), len(stage.client.answers)
    counted = stage.measured()
    code, output = stage.deploy(artifact, **deploy)
    assert code != 0
    for words in said:
        assert re.search(words, output), output
    assert "Traceback" not in output
    described = stage.made.cloud.describe(NAME)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", before)
    assert stage.replicas() == replicas
    assert stage.made.cloud.restarts(NAME) == 0
    assert all(answer.good for answer in stage.await_answers(5))
    # Every failure that the client saw is of the new version, by the account of the hosting itself.
    now = stage.measured()
    assert now[before]["Invocations"] > counted.get(before, {}).get("Invocations", 0)
    assert [now[before][metric] for metric in FAILURES] == [0.0] * len(FAILURES)
    failed = [answer for answer in stage.client.answers[seen:] if not answer.good]
    new = sum(
        sums[metric] - counted.get(name, {}).get(metric, 0.0)
        for name, sums in now.items()
        for metric in ("Invocation4XXErrors", "Invocation5XXErrors")
    )
    assert new == len(failed) * SPEED
