"""The resource types of CloudWatch, SNS, KMS, ECR, Budgets and the rest on a local AWS: made, changed, read, gone.

Each goes through the provider's own check, diff and lifecycle, without an engine: what it read back must be what was
asked for (no phantom differences), and an edit behind its back must show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from localcloud_rig import TRUST, running

from localcloud.provider import lifecycle
from localcloud.provider.checking import check
from localcloud.provider.cloud import Cloud
from localcloud.provider.configuration import SERVICES, Configuration
from localcloud.provider.diffing import diff
from localcloud.provider.errors import ProviderError
from localcloud.provider.resources import RESOURCES

pytestmark = pytest.mark.contract

ACCOUNT = "123456789012"
TAGS = {"stack": "local"}
TOPIC_ARN = f"arn:aws:sns:us-east-1:{ACCOUNT}:told-1"
DASHBOARD = {"widgets": [{"type": "text", "x": 0, "y": 0, "width": 12, "properties": {"markdown": "a"}}]}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("cloud")) as rig:
        endpoints = dict.fromkeys(SERVICES, rig.server.endpoint)
        yield Cloud(Configuration("us-east-1", endpoints, default_tags=TAGS))


class Made:
    """One resource, as the engine would hold it: its id, last inputs and last state."""

    def __init__(self, cloud: Cloud, token: str, name: str, /, **inputs: Any) -> None:
        self.cloud, self.resource, self.name = cloud, RESOURCES[token], name
        self.inputs = self.checked(inputs, {})
        self.id, self.state = lifecycle.create(cloud, self.resource, self.inputs)
        self.settle()

    def checked(self, inputs: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        complete, failures = check(self.resource, self.name, old, inputs, self.name.encode(), "us-east-1")
        assert failures == []
        return complete

    def changes(self, **inputs: Any) -> dict[str, bool]:
        """Path → whether it replaces, of what the program asks for now."""
        new = self.checked(inputs, self.inputs)
        found = diff(self.resource, self.inputs, self.state, new, self.cloud.default_tags).changes
        return {change.path: change.replaces for change in found}

    def change(self, **inputs: Any) -> None:
        assert not any(self.changes(**inputs).values())
        new = self.checked(inputs, self.inputs)
        self.state = lifecycle.update(self.cloud, self.resource, self.id, self.state, new)
        self.inputs = new
        self.settle()

    def settle(self) -> None:
        """What was asked for is there, and a refresh sees nothing else."""
        assert self.refreshed() == {}

    def refreshed(self) -> dict[str, Any]:
        """Inputs that a refresh would change."""
        found = lifecycle.read(self.cloud, self.resource, self.id, self.state, self.inputs)
        assert found is not None
        _, inputs, state = found
        assert state.get("tagsAll") == self.state.get("tagsAll") or inputs != self.inputs
        keys = {*inputs, *self.inputs}
        return {key: inputs.get(key) for key in keys if inputs.get(key) != self.inputs.get(key)}

    def imported(self) -> dict[str, Any]:
        found = lifecycle.read(self.cloud, self.resource, self.id, {}, {})
        assert found is not None
        return found[1]

    def gone(self) -> bool:
        return lifecycle.read(self.cloud, self.resource, self.id, self.state, self.inputs) is None

    def delete(self) -> None:
        """Twice: the second finds nothing left."""
        for _ in range(2):
            lifecycle.delete(self.cloud, self.resource, self.id, self.state)
        assert self.gone()


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(service: str, action: str, resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": resource}


ALARM = {
    "name": "news-5xx",
    "comparisonOperator": "GreaterThanThreshold",
    "evaluationPeriods": 2,
    "threshold": 0.5,
    "namespace": "AWS/SageMaker",
    "metricName": "Invocation5XXErrors",
    "statistic": "Sum",
    "period": 60,
    "dimensions": {"EndpointName": "news", "VariantName": "AllTraffic"},
    "alarmActions": [TOPIC_ARN],
}
MATH = {
    "name": "news-rate",
    "comparisonOperator": "GreaterThanThreshold",
    "evaluationPeriods": 3,
    "datapointsToAlarm": 2,
    "threshold": 0.01,
    "treatMissingData": "notBreaching",
    "metricQueries": [
        {"id": "rate", "expression": "IF(all > 20, bad / all, 0)", "label": "part that failed", "returnData": True},
        *(
            {
                "id": key,
                "metric": {
                    "namespace": "AWS/SageMaker",
                    "metricName": name,
                    "period": 60,
                    "stat": "Sum",
                    "dimensions": {"EndpointName": "news", "VariantName": "AllTraffic"},
                },
            }
            for key, name in (("bad", "Invocation5XXErrors"), ("all", "Invocations"))
        ),
    ],
}


def test_an_alarm_on_one_metric(cloud: Cloud):
    alarm = Made(cloud, "aws:cloudwatch/metricAlarm:MetricAlarm", "errors", **ALARM, tags={"a": "1"})
    (live,) = cloud.cloudwatch.describe_alarms(AlarmNames=["news-5xx"])["MetricAlarms"]
    assert (live["Threshold"], live["TreatMissingData"], live["ActionsEnabled"]) == (0.5, "missing", True)
    assert alarm.state["arn"] == live["AlarmArn"]
    changed = {**ALARM, "threshold": 3, "alarmActions": [], "okActions": [TOPIC_ARN], "actionsEnabled": False}
    alarm.change(**changed, tags={"b": "2"})
    assert alarm.state["tagsAll"] == {"b": "2", "stack": "local"}
    assert alarm.changes(**{**changed, "name": "another"})["name"]
    cloud.cloudwatch.enable_alarm_actions(AlarmNames=["news-5xx"])
    assert alarm.refreshed() == {"actionsEnabled": True}
    assert alarm.imported()["dimensions"] == ALARM["dimensions"]
    alarm.delete()


def test_an_alarm_with_metric_math_on_percentiles_and_with_a_guard_of_requests(cloud: Cloud):
    alarm = Made(cloud, "aws:cloudwatch/metricAlarm:MetricAlarm", "rate", **MATH)
    shuffled = {**MATH, "metricQueries": list(reversed(MATH["metricQueries"]))}
    assert alarm.changes(**shuffled) == {}
    slow = json.loads(json.dumps(MATH))
    slow["metricQueries"][1]["metric"] |= {"metricName": "ModelLatency", "stat": "p95"}
    alarm.change(**slow)
    with pytest.raises(ProviderError, match="no query has that id"):
        broken = {**MATH, "name": "broken", "metricQueries": [{"id": "x", "expression": "y * 2", "returnData": True}]}
        Made(cloud, "aws:cloudwatch/metricAlarm:MetricAlarm", "broken", **broken)
    alarm.delete()


def test_a_dashboard_is_compared_by_what_it_means(cloud: Cloud):
    token, body = "aws:cloudwatch/dashboard:Dashboard", json.dumps(DASHBOARD)
    dashboard = Made(cloud, token, "d", dashboardName="news-local", dashboardBody=body)
    assert dashboard.changes(dashboardName="news-local", dashboardBody=json.dumps(DASHBOARD, indent=2)) == {}
    dashboard.change(dashboardName="news-local", dashboardBody=body.replace('"a"', '"b"'))
    cloud.cloudwatch.put_dashboard(DashboardName="news-local", DashboardBody='{"widgets": []}')
    assert dashboard.refreshed() == {"dashboardBody": '{"widgets": []}'}
    assert dashboard.state["dashboardArn"].endswith(":dashboard/news-local")
    dashboard.delete()


def test_a_log_group_keeps_its_name_its_days_and_its_key(cloud: Cloud):
    token, key = "aws:cloudwatch/logGroup:LogGroup", f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1"
    group = Made(cloud, token, "logs", name="/aws/sagemaker/Endpoints/news", retentionInDays=30, tags={"a": "1"})
    group.change(name="/aws/sagemaker/Endpoints/news", retentionInDays=7, kmsKeyId=key)
    assert group.state["tagsAll"] == TAGS
    group.change(name="/aws/sagemaker/Endpoints/news")
    (live,) = cloud.logs.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/Endpoints/news")["logGroups"]
    assert "retentionInDays" not in live
    assert "kmsKeyId" not in live
    assert group.changes(name="/other") == {"name": True}
    cloud.logs.put_retention_policy(logGroupName="/aws/sagemaker/Endpoints/news", retentionInDays=1)
    assert group.refreshed() == {"retentionInDays": 1}
    group.delete()


def test_a_topic_with_a_policy_and_a_subscription(cloud: Cloud):
    topic = Made(cloud, "aws:sns/topic:Topic", "told", kmsMasterKeyId="alias/aws/sns", tags={"a": "1"})
    assert topic.id == topic.state["arn"]
    topic.change(displayName="Alarms")
    assert topic.state["tagsAll"] == TAGS
    given = policy(allow("cloudwatch.amazonaws.com", "sns:Publish", topic.id))
    publishing = Made(cloud, "aws:sns/topicPolicy:TopicPolicy", "p", arn=topic.id, policy=given)
    topic.settle()
    publishing.change(arn=topic.id, policy=policy(allow("budgets.amazonaws.com", "sns:Publish", topic.id)))
    heard = Made(
        cloud,
        "aws:sns/topicSubscription:TopicSubscription",
        "s",
        topic=topic.id,
        protocol="email",
        endpoint="ops@example.com",
        filterPolicy=json.dumps({"severity": ["high"]}),
    )
    heard.change(topic=topic.id, protocol="email", endpoint="ops@example.com", rawMessageDelivery=True)
    assert heard.changes(topic=topic.id, protocol="email", endpoint="dev@example.com")["endpoint"]
    heard.delete()
    publishing.delete()
    topic.settle()
    topic.delete()


def test_a_key_with_an_alias_is_gone_once_its_end_is_scheduled(cloud: Cloud):
    statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*"}
    given: dict[str, Any] = {"description": "of the bucket", "enableKeyRotation": True, "deletionWindowInDays": 7}
    document = policy({**statement, "Resource": "*"})
    key = Made(cloud, "aws:kms/key:Key", "k", **given, policy=document)
    assert key.changes(**given, policy=document, keyUsage="SIGN_VERIFY") == {"keyUsage": True}
    alias = Made(cloud, "aws:kms/alias:Alias", "bucket", targetKeyId=key.id)
    assert alias.id.startswith("alias/bucket-")
    assert alias.changes(targetKeyId=key.state["arn"]) == {}
    second = Made(cloud, "aws:kms/key:Key", "k2", description="another")
    alias.change(targetKeyId=second.id)
    assert alias.state["targetKeyArn"] == second.state["arn"]
    key.change(description="changed", isEnabled=False, policy=policy({**statement, "Resource": "*", "Sid": "Root"}))
    assert not cloud.kms.get_key_rotation_status(KeyId=key.id)["KeyRotationEnabled"]
    key.change(description="changed", tags={"a": "1"})
    assert key.state["tagsAll"] == {"a": "1", "stack": "local"}
    cloud.kms.disable_key(KeyId=key.id)
    assert key.refreshed() == {"isEnabled": False}
    alias.delete()
    key.delete()
    second.delete()


def test_a_repository_scans_and_forgets(cloud: Cloud):
    token = "aws:ecr/repository:Repository"
    scanned = {"imageScanningConfiguration": {"scanOnPush": True}}
    repository = Made(cloud, token, "Serving", **scanned, imageTagMutability="IMMUTABLE", forceDelete=True)
    assert repository.id.startswith("serving-")
    assert repository.state["repositoryUrl"].endswith(f".amazonaws.com/{repository.id}")
    repository.change(**scanned, tags={"a": "1"})
    assert repository.changes(**scanned, encryptionConfigurations=[{"encryptionType": "KMS"}])
    rule = {"rulePriority": 1, "action": {"type": "expire"}}
    rule["selection"] = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5}
    text = json.dumps({"rules": [rule]})
    kept = Made(cloud, "aws:ecr/lifecyclePolicy:LifecyclePolicy", "l", repository=repository.id, policy=text)
    assert kept.changes(repository=repository.id, policy=text.replace("5", "6")) == {"policy": True}
    kept.delete()
    repository.change()
    repository.delete()


def test_a_budget_with_its_notifications(cloud: Cloud):
    notice = {
        "comparisonOperator": "GREATER_THAN",
        "notificationType": "ACTUAL",
        "threshold": 80,
        "thresholdType": "PERCENTAGE",
        "subscriberEmailAddresses": ["ops@example.com"],
    }
    other = {**notice, "notificationType": "FORECASTED", "threshold": 100}
    given: dict[str, Any] = {
        "name": "news-local",
        "budgetType": "COST",
        "timeUnit": "MONTHLY",
        "limitAmount": "100",
        "limitUnit": "USD",
        "costFilters": [{"name": "TagKeyValue", "values": ["user:slipway:model$news"]}],
        "notifications": [other, notice],
        "tags": {"a": "1"},
    }
    budget = Made(cloud, "aws:budgets/budget:Budget", "b", **given)
    assert budget.id == f"{ACCOUNT}:news-local"
    assert budget.changes(**{**given, "limitAmount": "100.0", "notifications": [notice, other]}) == {}
    moved = {**notice, "subscriberSnsTopicArns": [TOPIC_ARN]}
    budget.change(**{**given, "limitAmount": "50", "notifications": [moved], "tags": {}})
    assert cloud.budgets.describe_budget(AccountId=ACCOUNT, BudgetName="news-local")["Budget"]["BudgetLimit"] == {
        "Amount": "50",
        "Unit": "USD",
    }
    assert budget.state["tagsAll"] == TAGS
    details = {key: moved[key] for key in ("comparisonOperator", "notificationType", "threshold", "thresholdType")}
    cloud.budgets.delete_notification(
        AccountId=ACCOUNT,
        BudgetName="news-local",
        Notification={key[0].upper() + key[1:]: value for key, value in details.items()},
    )
    assert budget.refreshed() == {"notifications": None}
    budget.delete()


def test_a_bucket_with_logs_a_lock_and_a_topic(cloud: Cloud):
    logs = Made(cloud, "aws:s3/bucket:Bucket", "logs", forceDestroy=True)
    bucket = Made(cloud, "aws:s3/bucket:Bucket", "kept", objectLockEnabled=True, forceDestroy=True)
    tls = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{logs.id}/*"}
    tls["Condition"] = {"Bool": {"aws:SecureTransport": "false"}}  # type: ignore[assignment]
    given = {"bucket": bucket.id, "targetBucket": logs.id, "targetPrefix": "s3/"}
    token = "aws:s3/bucketLogging:BucketLogging"
    Made(cloud, "aws:s3/bucketPolicy:BucketPolicy", "p", bucket=logs.id, policy=policy(tls))
    with pytest.raises(ProviderError, match="InvalidTargetBucketForLogging"):
        Made(cloud, token, "refused", **given)
    lets_in = allow("logging.s3.amazonaws.com", "s3:PutObject", f"arn:aws:s3:::{logs.id}/s3/*")
    Made(cloud, "aws:s3/bucketPolicy:BucketPolicy", "p", bucket=logs.id, policy=policy(tls, lets_in))
    logging = Made(cloud, token, "l", **given)
    logging.change(**{**given, "targetPrefix": "s3/more/"})
    logging.delete()

    lock = {"bucket": bucket.id, "rule": {"defaultRetention": {"mode": "GOVERNANCE", "days": 30}}}
    locked = Made(cloud, "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration", "o", **lock)
    lock["rule"] = {"defaultRetention": {"mode": "GOVERNANCE", "days": 1}}
    locked.change(**lock)
    Made(cloud, "aws:s3/bucketObjectv2:BucketObjectv2", "k", bucket=bucket.id, content="kept")
    assert logs.changes(objectLockEnabled=True, forceDestroy=True) == {"objectLockEnabled": True}

    topic = Made(cloud, "aws:sns/topic:Topic", "objects")
    heard = {"topicArn": topic.id, "events": ["s3:ObjectCreated:*"], "filterPrefix": "async/"}
    token = "aws:s3/bucketNotification:BucketNotification"
    notified = Made(cloud, token, "n", bucket=bucket.id, topics=[heard])
    notified.change(bucket=bucket.id, topics=[{**heard, "filterSuffix": ".out"}])
    notified.delete()
    for one in (topic, logs, bucket):
        one.delete()


def test_what_aws_would_refuse_is_refused_before_it_is_sent(cloud: Cloud):
    with pytest.raises(ProviderError, match="ComparisonOperator is 'Above'; AWS knows"):
        wrong = {**ALARM, "comparisonOperator": "Above"}
        Made(cloud, "aws:cloudwatch/metricAlarm:MetricAlarm", "a", **wrong)
    with pytest.raises(ProviderError, match="RoleName is 'white space', which does not match"):
        Made(cloud, "aws:iam/role:Role", "r", name="white space", assumeRolePolicy=json.dumps(TRUST))
    with pytest.raises(ProviderError, match="more than 1000"):
        Made(cloud, "aws:iam/role:Role", "r", description="x" * 1001, assumeRolePolicy=json.dumps(TRUST))
