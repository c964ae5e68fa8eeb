"""The guards of docs/aws.md on the real engine: counts, instance types and rollbacks of an endpoint that scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from built_models import write_model
from infra_project import Project, project
from localcloud_rig import FAKE, fake_model
from processes import wait_for

from toolchain.engine import Engine

pytestmark = pytest.mark.contract

GUARDED = {
    "instances": {"min": 2, "max": 4},
    # Nobody publishes it, and the schedule is for later: the count changes only where a test says so.
    "autoscaling": {
        "metric": {"namespace": "Queues", "name": "Length"},
        "target": 5,
        "schedule": [{"cron": "0 20 * * ? 2099", "timezone": "Europe/Berlin", "min": 2, "max": 2}],
    },
    "rollout": {"type": "canary", "interval": "1s", "bake": "1s"},
}


def write(made: Project, answer: str, deploy: dict[str, Any], name: str = "news") -> None:
    """A model that gives this answer; another one is another artifact."""
    write_model(made.root, name, artifact=fake_model(answer=answer), deploy=deploy)


def scaled(made: Project) -> Any:
    found = made.cloud.client("application-autoscaling")
    (target,) = found.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    policies = found.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    actions = found.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
    assert (len(policies), len(actions)) == (1, 1)
    return target


def instance_of(made: Project) -> str:
    name = made.cloud.describe("news-local")["EndpointConfigName"]
    (variant,) = made.cloud.sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"]
    return str(variant["InstanceType"])


def desired(made: Project) -> int:
    (variant,) = made.cloud.describe("news-local")["ProductionVariants"]
    return int(variant["DesiredInstanceCount"])


def test_an_endpoint_that_scales_keeps_its_count_changes_its_type_and_is_rolled_back(tmp_path: Path, engine: Engine):
    with project(tmp_path / "project", engine, (*FAKE, "--speed", "60")) as made:
        write(made, "first", GUARDED)
        made.up()
        alarms = {alarm["AlarmName"] for alarm in made.cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]}
        rolling_back = {"news-local-latency", "news-local-5xx", "news-local-model-errors"}
        assert rolling_back <= alarms
        first = scaled(made)

        # Scaled out, it is no other endpoint; and what is deployed next starts with what runs.
        made.cloud.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="news-local",
            DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}],
        )
        wait_for(lambda: made.cloud.describe("news-local")["EndpointStatus"] == "InService", "the endpoint to scale")
        assert made.unchanged()
        write(made, "second", GUARDED)
        made.up()
        assert made.cloud.invoke("news-local")["answer"] == "second"
        assert desired(made) == 3

        # Another instance type in one `up`: scaling is registered anew, with all that belongs to it.
        larger = GUARDED | {"instance": "ml.c7i.xlarge"}
        write(made, "second", larger)
        made.up()
        assert (instance_of(made), desired(made)) == ("ml.c7i.xlarge", 3)
        second = scaled(made)
        assert second["CreationTime"] > first["CreationTime"]
        assert made.unchanged()

        # An artifact that does not start, on another type: the old version serves, and scales as before.
        write_model(made.root, "news", artifact=b"not an archive", deploy=GUARDED)
        for _ in range(2):  # the second run knows it too
            code, said = made.run("up", "--yes", "--skip-preview", "--stack", "local")
            assert code != 0
            assert "endpoint news-local: SageMaker rolled the update back" in said
            assert "not an archive" not in said
            assert "Traceback" not in said
        assert made.cloud.invoke("news-local")["answer"] == "second"
        assert (instance_of(made), desired(made)) == ("ml.c7i.xlarge", 3)
        scaled(made)
        write(made, "second", larger)
        made.up()

        made.require("destroy", "--yes", "--skip-preview", "--stack", "local")
        assert made.resources() == []
        scaling = made.cloud.client("application-autoscaling")
        assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
        assert made.cloud.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_every_kind_of_endpoint_is_deployed_found_unchanged_and_taken_away(tmp_path: Path, engine: Engine):
    kinds: dict[str, dict[str, Any]] = {
        "serverless": {"endpoint": "serverless", "serverless": {"memory_mb": 1024, "max_concurrency": 2}},
        "queued": {
            "endpoint": "async",
            "instances": {"min": 0, "max": 2},
            "asynchronous": {"notify": True, "concurrency": 2},
            "rollout": "all-at-once",
        },
        "shadowed": {
            "shadow": {"share": 0.5},
            "capture": {"percent": 100},
            "autoscaling": {"metric": "concurrency", "target": 4, "steps": [{"above": 0, "add": 1}]},
            "instances": {"min": 1, "max": 2},
        },
        "several": {"variants": {"Candidate": {"weight": 1}}, "rollout": "all-at-once"},
    }
    with project(tmp_path / "project", engine, (*FAKE, "--speed", "60")) as made:
        for name, deploy in kinds.items():
            write(made, name, deploy, name)
        made.up()
        assert made.unchanged()
        for name in ("serverless", "shadowed", "several"):
            assert made.cloud.invoke(f"{name}-local")["answer"] == name
        bucket = made.outputs()["bucket"]
        s3, runtime = made.cloud.client("s3"), made.cloud.client("sagemaker-runtime")
        s3.put_object(Bucket=bucket, Key="async/queued/input/1.json", Body=b"{}")
        answer = runtime.invoke_endpoint_async(
            EndpointName="queued-local",
            InputLocation=f"s3://{bucket}/async/queued/input/1.json",
            ContentType="application/json",
        )
        assert answer["OutputLocation"].startswith(f"s3://{bucket}/async/queued/output/")
        captured = {"Bucket": bucket, "Prefix": "capture/shadowed/"}
        wait_for(lambda: s3.list_objects_v2(**captured)["KeyCount"], "the captured request")
        made.require("destroy", "--yes", "--skip-preview", "--stack", "local")
        assert made.resources() == []
        assert made.cloud.client("sns").list_topics()["Topics"] == []
