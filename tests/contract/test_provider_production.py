"""One stack of all that production needs, on the real engine: up, nothing to do, changed, drifted, replaced, gone.

The tests are the steps of one life, in their order; each compares the engine's state with what the local AWS has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from localcloud_rig import fake_model
from provider_production import PRODUCTION, SETTINGS
from provider_project import REGION, Project, project
from test_provider_engine import COMMON, each

from localcloud.provider import lifecycle
from localcloud.provider.cloud import Cloud
from localcloud.provider.configuration import SERVICES, Configuration
from localcloud.provider.resources import RESOURCES
from toolchain.engine import Engine

pytestmark = pytest.mark.contract


REPLACED = ["create-replacement", "replace", "delete-replaced"]


class Life:
    """The stack, what its program is told by now, and the local AWS to compare with."""

    def __init__(self, made: Project) -> None:
        self.made = made
        self.settings: dict[str, Any] = dict(SETTINGS)
        endpoints = dict.fromkeys(SERVICES, made.cloud.server.endpoint)
        self.cloud = Cloud(Configuration(REGION, endpoints, default_tags={"stack": "local"}))

    def up(self, **changes: Any) -> dict[str, list[str]]:
        self.settings |= changes
        self.made.write(PRODUCTION, **self.settings)
        return self.made.do("up")

    def compare(self) -> None:
        """Everything in the state is there, as it was asked for, and nothing else is."""
        state = self.made.state()
        for one in state.values():
            inputs = one["inputs"]
            found = lifecycle.read(self.cloud, RESOURCES[one["type"]], one["id"], one["outputs"], inputs)
            assert found is not None, one["urn"]
            assert found[1] == inputs, one["urn"]
        kinds = [one["type"].rpartition(":")[2] for one in state.values()]
        for kind, names in self.there().items():
            assert len(names) == kinds.count(kind), (kind, names)

    def there(self) -> dict[str, list[str]]:
        """What the local AWS has of each kind, asked by AWS's own client."""
        client = self.made.cloud.client
        sagemaker, scaling, watch = client("sagemaker"), client("application-autoscaling"), client("cloudwatch")
        keys = [key["KeyId"] for key in client("kms").list_keys()["Keys"]]
        described = [client("kms").describe_key(KeyId=key)["KeyMetadata"] for key in keys]
        # Those of target tracking are the policies' own.
        alarms = [one["AlarmName"] for one in watch.describe_alarms()["MetricAlarms"]]
        actions = scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
        return {
            "Bucket": [one["Name"] for one in client("s3").list_buckets()["Buckets"]],
            "Role": [one["RoleName"] for one in client("iam").list_roles()["Roles"]],
            "Model": [one["ModelName"] for one in sagemaker.list_models()["Models"]],
            "EndpointConfiguration": [
                one["EndpointConfigName"] for one in sagemaker.list_endpoint_configs()["EndpointConfigs"]
            ],
            "Endpoint": [one["EndpointName"] for one in sagemaker.list_endpoints()["Endpoints"]],
            "Target": scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
            "Policy": scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"],
            "ScheduledAction": [one["ScheduledActionName"] for one in actions],
            "MetricAlarm": [name for name in alarms if not name.startswith("TargetTracking-")],
            "Dashboard": watch.list_dashboards()["DashboardEntries"],
            "LogGroup": client("logs").describe_log_groups()["logGroups"],
            "Topic": client("sns").list_topics()["Topics"],
            "TopicSubscription": client("sns").list_subscriptions()["Subscriptions"],
            "Key": [one["KeyId"] for one in described if one["KeyState"] != "PendingDeletion"],
            "Alias": [
                one["AliasName"]
                for one in client("kms").list_aliases()["Aliases"]
                if not one["AliasName"].startswith("alias/aws/")
            ],
            "Repository": client("ecr").describe_repositories()["repositories"],
            "Budget": client("budgets").describe_budgets(AccountId="123456789012")["Budgets"],
        }


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Life]:
    """The stack, up from nothing."""
    with project(tmp_path_factory.mktemp("production") / "project", engine) as made:
        one = Life(made)
        one.up()
        yield one


def test_everything_of_production_comes_up_and_stays_as_it_is(life: Life):
    served = {one["type"] for one in life.made.state().values()}
    assert {token for token in RESOURCES if token.rpartition(":")[2] not in COMMON} <= served
    life.compare()
    cloud = life.made.cloud
    for name in ("canary", "serverless", "shadowed", "split"):
        assert cloud.invoke(f"{name}-local")["answer"] == "good"
    described = cloud.sagemaker.describe_endpoint_config(
        EndpointConfigName=cloud.describe("canary-local")["EndpointConfigName"]
    )
    assert described["ProductionVariants"][0]["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    assert life.up() == {}
    life.compare()


def test_what_can_be_changed_is_changed_in_place(life: Life):
    before = life.made.cloud.describe("canary-local")
    changed = life.up(
        alarm_threshold=7.5,
        description="of all artifacts",
        limit="250",
        night=1,
        retention=7,
        steps=[
            {"scaling_adjustment": 1, "metric_interval_lower_bound": "0", "metric_interval_upper_bound": "20"},
            {"scaling_adjustment": 3, "metric_interval_lower_bound": "20"},
        ],
        title="b",
    )
    in_place = each("update", "budget", "dashboard", "failing", "group", "key", "lock", "night", "steps")
    # A lifecycle policy of ECR is replaced for any change, as upstream has it.
    assert changed == in_place | {"images": changed["images"]}
    assert changed["images"] == ["delete-replaced", "replace", "create-replacement"]
    life.compare()
    assert life.made.cloud.describe("canary-local")["LastModifiedTime"] == before["LastModifiedTime"]


def test_what_was_edited_or_removed_by_hand_is_seen_and_repaired(life: Life):
    outputs, client = life.made.outputs(), life.made.cloud.client
    client("s3").put_bucket_logging(Bucket=outputs["bucket"], BucketLoggingStatus={})
    client("s3").put_bucket_tagging(Bucket=outputs["bucket"], Tagging={"TagSet": [{"Key": "who", "Value": "me"}]})
    client("cloudwatch").delete_alarms(AlarmNames=["canary-local-5xx"])
    client("cloudwatch").put_dashboard(DashboardName="iris-local", DashboardBody='{"widgets": []}')
    client("logs").delete_retention_policy(logGroupName="/aws/sagemaker/Endpoints/canary-local")
    client("kms").disable_key_rotation(KeyId=outputs["key"])
    client("sns").set_topic_attributes(
        TopicArn=outputs["topic"],
        AttributeName="Policy",
        AttributeValue=json.dumps({"Version": "2012-10-17", "Statement": []}),
    )
    scaling = client("application-autoscaling")
    (action,) = scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
    where = {key: action[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension", "ScheduledActionName")}
    scaling.delete_scheduled_action(**where)
    repository = client("ecr").describe_repositories()["repositories"][0]["repositoryName"]
    client("ecr").delete_lifecycle_policy(repositoryName=repository)

    life.made.do("refresh")
    repaired = life.up()
    assert repaired == {
        **each("create", "failing", "images", "logging", "night"),
        **each("update", "artifacts", "dashboard", "group", "key", "told"),
    }
    life.compare()


def test_another_model_goes_through_a_canary_and_other_kinds_move_to_new_configurations(life: Life):
    (life.made.root / "better.tar.gz").write_bytes(fake_model(answer="better"))
    cloud = life.made.cloud
    before = {name: cloud.describe(f"{name}-local") for name in ("canary", "serverless", "split")}
    changed = life.up(artifact="better.tar.gz", memory=3072, weights=[1, 9], emails=["dev@example.com"])
    moved = (*before, "shadowed", "waiting")
    assert changed == {
        **dict.fromkeys(("artifact", "mail-0", "model", "second", *(f"{name}-as-asked" for name in moved)), REPLACED),
        **each("update", *moved),
    }
    for name, old in before.items():
        new = cloud.describe(f"{name}-local")
        assert new["CreationTime"] == old["CreationTime"]
        assert new["EndpointConfigName"] != old["EndpointConfigName"]
        assert cloud.invoke(f"{name}-local")["answer"] == "better"
    life.compare()


def test_destroying_leaves_nothing(life: Life):
    life.made.do("destroy")
    assert life.made.state() == {}
    assert {kind: found for kind, found in life.there().items() if found} == {}
    watch = life.made.cloud.client("cloudwatch")
    assert watch.describe_alarms()["MetricAlarms"] == []
