"""`slipway rehearse` on an endpoint with real replicas: a good version stays, a bad one is rolled back or told."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from built_models import write_model
from click.testing import CliRunner
from localcloud_rig import REAL, Cloud, running
from processes import alive
from serving_artifacts import write_artifact

from slipway.cli import slipway

pytestmark = pytest.mark.contract

# The step scales the endpoint out, and only then, however long that takes, the new version is rolled out.
GOOD = """\
speed: 200
phases:
  - {kind: steady, duration: 2m, rate: 20}
  - {kind: step, duration: 18m, rate: 20, to: 60, at: 0s}
arrivals: even
capacity: 30
rollout_at: 12m
gates: {max_error_percent: 0, max_replica_ratio: 20}
"""
BAD = """\
speed: 200
phases: [{kind: steady, duration: 4m, rate: RATE}]
arrivals: even
capacity: 30
rollout_at: 1m
"""


@dataclass
class Checkout:
    root: Path
    cloud: Cloud

    def rehearse(self, profile: str, *options: str) -> tuple[int, dict[str, Any]]:
        (self.root / "p.yaml").write_text(profile)
        arguments = ["--root", str(self.root), "rehearse", "news", "--json", "--traffic", str(self.root / "p.yaml")]
        sample = ["--sample", str(self.root / "sample.json")]
        done = CliRunner().invoke(slipway, [*arguments, *sample, *options], catch_exceptions=False)
        return done.exit_code, json.loads(done.stdout)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose endpoint has a canary, an alarm that watches its configuration, and a scaling policy."""
    root = tmp_path_factory.mktemp("rehearsed")
    (root / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    (root / "sample.json").write_text('{"inputs": {"x": [[1, 0, 2]]}}')
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(write_artifact(root / "artifact", "tensor"), arcname=".")
    artifact = packed.getvalue()
    write_model(root, "news", artifact=artifact)
    with running(root / ".slipway/local", REAL) as cloud:
        cloud.model("news", artifact)
        cloud.config("news-1", "news", 2)
        metric = {
            "Namespace": "AWS/SageMaker",
            "MetricName": "Invocation5XXErrors",
            "Dimensions": [
                {"Name": "EndpointName", "Value": "news-local"},
                {"Name": "VariantName", "Value": "AllTraffic"},
                {"Name": "EndpointConfigName", "Value": "news-1"},
            ],
        }
        cloud.client("cloudwatch").put_metric_alarm(
            AlarmName="news-errors",
            **metric,
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=3.0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )
        routing = {"Type": "CANARY", "WaitIntervalInSeconds": 120}
        routing["CanarySize"] = {"Type": "INSTANCE_COUNT", "Value": 1}
        cloud.sagemaker.create_endpoint(
            EndpointName="news-local",
            EndpointConfigName="news-1",
            DeploymentConfig={
                "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "news-errors"}]},
            },
        )
        assert cloud.settled("news-local")["EndpointStatus"] == "InService"
        scaling = cloud.client("application-autoscaling")
        target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": "endpoint/news-local/variant/AllTraffic",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        scaling.register_scalable_target(**target, MinCapacity=2, MaxCapacity=3)
        scaling.put_scaling_policy(
            **target,
            PolicyName="follow",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                # 20 requests a second are below it, 60 on two replicas above: only where requests are weighed.
                "TargetValue": 1200.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            },
        )
        yield Checkout(root, cloud)


def test_a_good_version_stays_scaling_follows_the_traffic_and_the_original_is_untouched(checkout: Checkout) -> None:
    before = checkout.cloud.describe("news-local")
    code, told = checkout.rehearse(GOOD)
    assert code == 0, told
    assert told["rollout"]["outcome"] == "completed"
    assert told["traffic"]["all"]["errors"] == 0 and told["traffic"]["all"]["requests"] > 200
    assert any("canary bakes" in event["what"] for event in told["rollout"]["events"])
    assert [(one["before"], one["after"]) for one in told["scaling"]] == [(2, 3)]
    # Two replicas could hold it at 60 requests a second, one at 20; an update runs two fleets for a while.
    assert told["replicas"]["ratio"] > 1 and told["replicas"]["most"] >= 4
    assert told["rate_of_100_percent"] == 20
    assert all(gate["passed"] for gate in told["gates"])
    assert checkout.cloud.describe("news-local") | {"ResponseMetadata": 0} == before | {"ResponseMetadata": 0}
    assert not (checkout.root / ".slipway/rehearsal").exists()


def test_a_bad_version_is_rolled_back_by_the_endpoints_own_alarm(checkout: Checkout) -> None:
    code, told = checkout.rehearse(BAD.replace("RATE", "20"), "--bad", "crash")
    assert code == 0, told
    assert told["rollout"]["outcome"] == "rolled back"
    assert "news-errors is in ALARM state" in told["rollout"]["reason"]
    assert {failure["status"] for failure in told["failures"]} == {503}
    assert told["traffic"]["before"]["errors"] == 0


def test_a_bad_version_that_stays_misses_the_gate(checkout: Checkout) -> None:
    # No alarm watches latencies.
    code, told = checkout.rehearse(BAD.replace("RATE", "1"), "--bad", "slow")
    assert code == 1
    assert told["rollout"]["outcome"] == "completed"
    assert {gate["gate"]: gate["passed"] for gate in told["gates"]} == {"must_roll_back": False}


def test_an_endpoint_that_is_not_there_is_told_with_those_that_are(checkout: Checkout) -> None:
    from slipway.cli import run

    write_model(checkout.root, "other")
    arguments = ["--root", str(checkout.root), "rehearse", "other", "--sample", str(checkout.root / "sample.json")]
    assert run(arguments) == 1
    assert alive(checkout.cloud.server.pid)
