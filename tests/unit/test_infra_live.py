"""What runs now, asked of an account that moto plays: the calls are validated by botocore as AWS's are."""

import json

import boto3
import pytest
from moto import mock_aws

from infra.live import Account, LiveEndpoint, LiveError, LiveVariant
from infra.settings import Settings

REGION = "eu-west-1"
TAGS = {"slipway:model": "news"}
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/news-dev/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


@pytest.fixture
def account(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        made = Account(Settings(stack="dev", root=tmp_path, region=REGION, account="123456789012"))
        # Which moto does not know.
        monkeypatch.setattr(
            made._client("application-autoscaling"), "list_tags_for_resource", lambda ResourceARN: {"Tags": TAGS}
        )
        yield made


def client(service):
    return boto3.client(service, region_name=REGION)


def host(endpoint="news-dev", configuration="news-dev-1", instance="ml.c5.large", count=2):
    """An endpoint of one variant; what exists of it already stays."""
    sagemaker, iam = client("sagemaker"), client("iam")
    if not iam.list_roles()["Roles"]:
        role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps({"Statement": []}))["Role"]["Arn"]
        container = {"Image": "i", "ModelDataUrl": "s3://b/k"}
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=role, PrimaryContainer=container)
    sagemaker.create_endpoint_config(
        EndpointConfigName=configuration,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": "m",
                "InstanceType": instance,
                "InitialInstanceCount": count,
                "InitialVariantWeight": 1,
            }
        ],
        Tags=[{"Key": "slipway:digest", "Value": "d1"}, {"Key": "slipway:settings", "Value": "s1"}],
    )
    if endpoint:
        sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=configuration)


def test_an_endpoint_is_read_with_its_counts_and_the_tags_of_its_configuration(account):
    host(count=3)
    found = account.endpoints(["news-dev", "fashion-dev"])
    assert found == {
        "news-dev": LiveEndpoint(
            "news-dev-1",
            "InService",
            "",
            {"AllTraffic": LiveVariant(desired=3, configured=3, instance="ml.c5.large")},
            digest="d1",
            settings="s1",
        )
    }


def test_nothing_is_asked_where_nothing_scales(tmp_path):
    assert Account(Settings(stack="dev", root=tmp_path, region=REGION)).endpoints([]) == {}


def test_an_endpoint_that_does_not_exist_is_none(account):
    assert account.endpoint("news-dev") is None


def test_an_endpoint_says_what_it_runs(account):
    host()
    found = account.endpoint("news-dev")
    assert (found.configuration, found.status) == ("news-dev-1", "InService")


def test_an_account_that_cannot_be_asked_is_one_line(account, monkeypatch):
    client = account._client("sagemaker")
    monkeypatch.setattr(client, "describe_endpoint", client.create_endpoint)  # as any refusal: a wrong call
    with pytest.raises(LiveError, match="endpoint news-dev: the account cannot be asked: "):
        account.endpoint("news-dev")


def test_only_alarms_that_ring_are_told(account):
    cloudwatch = client("cloudwatch")
    for name in ("news-dev-5xx", "news-dev-latency", "other"):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="N",
            MetricName="M",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
    for name in ("news-dev-5xx", "other"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="r")
    assert account.ringing(["news-dev-5xx", "news-dev-latency"]) == ["news-dev-5xx"]


def scaled():
    scaling = client("application-autoscaling")
    scaling.register_scalable_target(**TARGET, MinCapacity=1, MaxCapacity=4)
    scaling.put_scaling_policy(
        **TARGET,
        PolicyName="p",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 600,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )
    scaling.put_scheduled_action(
        **TARGET,
        ScheduledActionName="night",
        Schedule="cron(0 20 * * ? *)",
        Timezone="Europe/Berlin",
        ScalableTargetAction={"MinCapacity": 1, "MaxCapacity": 1},
    )
    return scaling


def registered(scaling):
    return scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]


def test_another_instance_type_deregisters_the_target(account):
    host()
    host(endpoint=None, configuration="news-dev-2", instance="ml.c5.xlarge")
    scaling = scaled()
    account.release_scaling("news-dev", "news-dev-2")
    assert registered(scaling) == []


def test_the_same_instance_type_leaves_the_target_alone(account):
    host()
    host(endpoint=None, configuration="news-dev-2")
    scaling = scaled()
    account.release_scaling("news-dev", "news-dev-2")
    assert len(registered(scaling)) == 1


def test_a_target_that_is_not_registered_is_no_obstacle(account):
    host()
    host(endpoint=None, configuration="news-dev-2", instance="ml.c5.xlarge")
    account.release_scaling("news-dev", "news-dev-2")
    account.release_scaling("gone-dev", "news-dev-2")


def test_what_was_deregistered_for_an_update_that_failed_is_registered_again(account):
    host()
    host(endpoint=None, configuration="news-dev-2", instance="ml.c5.xlarge")
    scaling = scaled()
    account.release_scaling("news-dev", "news-dev-2")
    account.restore_scaling("news-dev")
    (target,) = registered(scaling)
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 600
    (action,) = scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
    assert (action["Schedule"], action["Timezone"]) == ("cron(0 20 * * ? *)", "Europe/Berlin")
    account.restore_scaling("news-dev")  # once is enough
    assert len(registered(scaling)) == 1
