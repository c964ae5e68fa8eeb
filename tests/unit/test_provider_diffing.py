"""`Diff` of every resource type: what is a change, what forces a replacement, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.provider.diffing import Change, diff
from localcloud.provider.resources import RESOURCES
from localcloud.provider.values import ASSET, SIGNATURE, UNKNOWN

BUCKET = "aws:s3/bucket:Bucket"
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
OWNERSHIP = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
OBJECT = "aws:s3/bucketObjectv2:BucketObjectv2"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
MODEL = "aws:sagemaker/model:Model"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
TARGET = "aws:appautoscaling/target:Target"
POLICY = "aws:appautoscaling/policy:Policy"
ACTION = "aws:appautoscaling/scheduledAction:ScheduledAction"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"
LOGS = "aws:cloudwatch/logGroup:LogGroup"
TOPIC = "aws:sns/topic:Topic"
TOPIC_POLICY = "aws:sns/topicPolicy:TopicPolicy"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
KEY = "aws:kms/key:Key"
ALIAS = "aws:kms/alias:Alias"
BUDGET = "aws:budgets/budget:Budget"
REPOSITORY = "aws:ecr/repository:Repository"
IMAGES = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
BUCKET_LOGS = "aws:s3/bucketLogging:BucketLogging"
LOCK = "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration"
NOTIFICATION = "aws:s3/bucketNotification:BucketNotification"

ALLOW = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
DENY = {"Effect": "Deny", "Action": "s3:*", "Resource": ["a", "b"], "Principal": "*"}


def document(*statements: Any, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


def asset(digest: str, path: str = "/a") -> dict[str, str]:
    return {SIGNATURE: ASSET, "hash": digest, "path": path}


def changes(token: str, old: dict[str, Any], new: dict[str, Any], state: dict[str, Any] | None = None) -> list[str]:
    """`path` of each change in place, `path!` of each that replaces."""
    found = diff(RESOURCES[token], old, state or old, new, {}).changes
    return [change.path + ("!" if change.replaces else "") for change in found]


CHANGES = [
    (BUCKET, {"bucket": "a"}, {"bucket": "b"}, ["bucket!"]),
    (BUCKET, {"forceDestroy": False}, {"forceDestroy": True}, ["forceDestroy"]),
    (BUCKET, {"tags": {"a": "1", "b": "2"}}, {"tags": {"a": "3", "c/d": "4"}}, ["tags.a", "tags.b", 'tags["c/d"]']),
    (BUCKET, {"tags": {"a": "1"}}, {"tags": UNKNOWN}, ["tags"]),
    (BUCKET_POLICY, {"policy": document(ALLOW)}, {"policy": document(DENY)}, ["policy"]),
    (BUCKET_POLICY, {"bucket": "a"}, {"bucket": UNKNOWN}, ["bucket!"]),
    (BLOCK, {"blockPublicAcls": True}, {"blockPublicAcls": False}, ["blockPublicAcls"]),
    (
        VERSIONING,
        {"versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
        ["versioningConfiguration.status"],
    ),
    (ENCRYPTION, {"rules": [{"bucketKeyEnabled": True}]}, {"rules": [{}]}, ["rules[0].bucketKeyEnabled"]),
    (
        LIFECYCLE,
        {"rules": [{"id": "a", "expiration": {"days": 1}}, {"id": "b"}]},
        {"rules": [{"id": "a", "expiration": {"days": 2}}, {"id": "b"}]},
        ["rules[0].expiration.days"],
    ),
    (LIFECYCLE, {"rules": [{"id": "a"}]}, {"rules": [{"id": "a"}, {"id": "b"}]}, ["rules"]),
    (
        OWNERSHIP,
        {"rule": {"objectOwnership": "ObjectWriter"}},
        {"rule": {"objectOwnership": "BucketOwnerEnforced"}},
        ["rule.objectOwnership"],
    ),
    (OBJECT, {"source": asset("1")}, {"source": asset("2")}, ["source"]),
    (OBJECT, {"key": "a", "sourceHash": "x"}, {"key": "b", "sourceHash": "y"}, ["key!", "sourceHash"]),
    (ROLE, {"path": "/", "description": "a"}, {"path": "/x/"}, ["description", "path!"]),
    (ROLE_POLICY, {"role": "a", "policy": document(ALLOW)}, {"role": "b", "policy": document()}, ["policy", "role!"]),
    (
        MODEL,
        {"primaryContainer": {"modelDataUrl": "s3://b/1", "environment": {"A": "1"}}},
        {"primaryContainer": {"modelDataUrl": "s3://b/2", "environment": {"A": "2"}}},
        ["primaryContainer.environment.A!", "primaryContainer.modelDataUrl!"],
    ),
    (MODEL, {"tags": {}}, {"tags": {"a": "b"}}, ["tags"]),
    (
        CONFIGURATION,
        {"productionVariants": [{"modelName": "a"}]},
        {"productionVariants": [{"modelName": UNKNOWN}]},
        ["productionVariants[0].modelName!"],
    ),
    (
        ENDPOINT,
        {"name": "a", "endpointConfigName": "1"},
        {"name": "a", "endpointConfigName": "2"},
        ["endpointConfigName"],
    ),
    (
        ENDPOINT,
        {},
        {"deploymentConfig": {"autoRollbackConfiguration": {"alarms": [{"alarmName": "x"}]}}},
        ["deploymentConfig!"],
    ),
    (
        ENDPOINT,
        {},
        {"deploymentConfig": {"rollingUpdatePolicy": {"waitIntervalInSeconds": 0}}},
        ["deploymentConfig"],
    ),
    (
        ENDPOINT,
        {"deploymentConfig": {"blueGreenUpdatePolicy": {"terminationWaitInSeconds": 0}}},
        {
            "deploymentConfig": {
                "blueGreenUpdatePolicy": {"terminationWaitInSeconds": 0},
                "autoRollbackConfiguration": {"alarms": [{"alarmName": "x"}]},
            }
        },
        ["deploymentConfig.autoRollbackConfiguration!"],
    ),
    (
        TARGET,
        {"maxCapacity": 3, "resourceId": "a"},
        {"maxCapacity": 4, "resourceId": "b"},
        ["maxCapacity", "resourceId!"],
    ),
    (
        POLICY,
        {"targetTrackingScalingPolicyConfiguration": {"targetValue": 600, "scaleInCooldown": 0}},
        {"targetTrackingScalingPolicyConfiguration": {"targetValue": 500}},
        [
            "targetTrackingScalingPolicyConfiguration.scaleInCooldown",
            "targetTrackingScalingPolicyConfiguration.targetValue",
        ],
    ),
    (
        CONFIGURATION,
        {"productionVariants": [{"modelName": "a"}]},
        {
            "productionVariants": [{"modelName": "a"}],
            "shadowProductionVariants": [{"modelName": "b"}],
            "kmsKeyArn": "k",
            "asyncInferenceConfig": {"outputConfig": {"s3OutputPath": "s3://b/o"}},
            "dataCaptureConfig": {"destinationS3Uri": "s3://b/c"},
        },
        ["asyncInferenceConfig!", "dataCaptureConfig!", "kmsKeyArn!", "shadowProductionVariants!"],
    ),
    (MODEL, {"vpcConfig": {"subnets": ["a"]}}, {"vpcConfig": {"subnets": ["b"]}}, ["vpcConfig.subnets!"]),
    (ALARM, {"name": "a", "threshold": 1}, {"name": "b", "threshold": 2}, ["name!", "threshold"]),
    (ALARM, {"metricQueries": [{"id": "a"}]}, {"metricQueries": [{"id": "b"}]}, ["metricQueries"]),
    (DASHBOARD, {"dashboardName": "a"}, {"dashboardName": "b"}, ["dashboardName!"]),
    (LOGS, {"name": "a", "retentionInDays": 1}, {"name": "b", "retentionInDays": 3}, ["name!", "retentionInDays"]),
    (
        ACTION,
        {"schedule": "rate(1 day)", "timezone": "UTC", "resourceId": "a"},
        {"schedule": "rate(2 days)", "timezone": "Europe/Berlin", "resourceId": "b"},
        ["resourceId!", "schedule", "timezone"],
    ),
    (TOPIC, {"name": "a", "displayName": "1"}, {"name": "b", "displayName": "2"}, ["displayName", "name!"]),
    (TOPIC_POLICY, {"arn": "a", "policy": document(ALLOW)}, {"arn": "b", "policy": document()}, ["arn!", "policy"]),
    (
        SUBSCRIPTION,
        {"endpoint": "a"},
        {"endpoint": "b", "rawMessageDelivery": True},
        ["endpoint!", "rawMessageDelivery"],
    ),
    (KEY, {"description": "a", "keyUsage": "E"}, {"description": "b", "keyUsage": "S"}, ["description", "keyUsage!"]),
    (ALIAS, {"name": "alias/a", "targetKeyId": "1"}, {"name": "alias/b", "targetKeyId": "2"}, ["name!", "targetKeyId"]),
    (BUDGET, {"limitAmount": "1", "name": "a"}, {"limitAmount": "2", "name": "b"}, ["limitAmount", "name!"]),
    (
        REPOSITORY,
        {"imageTagMutability": "MUTABLE"},
        {"imageTagMutability": "IMMUTABLE", "encryptionConfigurations": [{"encryptionType": "KMS"}]},
        ["encryptionConfigurations!", "imageTagMutability"],
    ),
    (IMAGES, {"policy": '{"rules": []}'}, {"policy": '{"rules": [{"rulePriority": 1}]}'}, ["policy!"]),
    (
        BUCKET_LOGS,
        {"bucket": "a", "targetPrefix": "x"},
        {"bucket": "b", "targetPrefix": "y"},
        ["bucket!", "targetPrefix"],
    ),
    (
        LOCK,
        {"rule": {"defaultRetention": {"days": 1}}},
        {"rule": {"defaultRetention": {"days": 2}}},
        ["rule.defaultRetention.days"],
    ),
    (NOTIFICATION, {"topics": [{"topicArn": "a"}]}, {"topics": [{"topicArn": "b"}]}, ["topics"]),
]


@pytest.mark.parametrize(("token", "old", "new", "expected"), CHANGES)
def test_a_change_is_found_at_its_path(token: str, old: Any, new: Any, expected: list[str]):
    assert sorted(changes(token, old, new, {"tagsAll": {}})) == sorted(expected)


@pytest.mark.parametrize("token", RESOURCES)
def test_every_type_is_among_the_changes(token: str):
    assert token in {row[0] for row in CHANGES}


@pytest.mark.parametrize(("token", "value"), [(row[0], row[1]) for row in CHANGES])
def test_the_same_is_no_change(token: str, value: Any):
    state = {**value, "tagsAll": value.get("tags") or {}}
    assert changes(token, value, value, state) == []


@pytest.mark.parametrize(
    ("token", "old", "new"),
    [
        # A document rewritten by AWS or by the program means the same.
        (
            BUCKET_POLICY,
            {"policy": document(ALLOW, DENY)},
            {"policy": document({**DENY, "Principal": {"AWS": ["*"]}}, {**ALLOW, "Action": ALLOW["Action"][::-1]})},
        ),
        # The file is the same, wherever a checkout has it.
        (OBJECT, {"source": asset("1", "/here")}, {"source": asset("1", "/there")}),
        # What AWS chose is not taken back by a program that does not name it.
        (OBJECT, {"contentType": "binary/octet-stream"}, {}),
        (
            CONFIGURATION,
            {"productionVariants": [{"modelName": "m", "variantName": "generated"}]},
            {"productionVariants": [{"modelName": "m"}]},
        ),
        # Nothing, said in two ways.
        (LIFECYCLE, {"rules": [{"id": "a", "filter": {"prefix": ""}}]}, {"rules": [{"id": "a", "filter": {}}]}),
        (ROLE, {"description": ""}, {}),
        (ROLE, {"__defaults": ["name"]}, {"__defaults": []}),
        (MODEL, {"enableNetworkIsolation": False}, {}),
        (
            CONFIGURATION,
            {"productionVariants": [{"initialVariantWeight": 1}]},
            {"productionVariants": [{"initialVariantWeight": 1.0}]},
        ),
        (
            LIFECYCLE,
            {"rules": [{"id": "a", "transitions": [{"days": 1}, {"days": 2}]}]},
            {"rules": [{"id": "a", "transitions": [{"days": 2}, {"days": 1}]}]},
        ),
        # The same number, moment or key, written otherwise.
        (
            POLICY,
            {"stepScalingPolicyConfiguration": {"stepAdjustments": [{"metricIntervalLowerBound": "0"}]}},
            {"stepScalingPolicyConfiguration": {"stepAdjustments": [{"metricIntervalLowerBound": "0.0"}]}},
        ),
        (ACTION, {"startTime": "2027-01-31T09:00:00Z"}, {"startTime": "2027-01-31T10:00:00+01:00"}),
        (BUDGET, {"limitAmount": "100"}, {"limitAmount": "100.0"}),
        (ALIAS, {"targetKeyId": "1-2"}, {"targetKeyId": "arn:aws:kms:eu-central-1:123456789012:key/1-2"}),
        (DASHBOARD, {"dashboardBody": '{"widgets": []}'}, {"dashboardBody": '{\n "widgets":[]}'}),
        (
            IMAGES,
            {"policy": '{"rules": [{"rulePriority": 1}, {"rulePriority": 2}]}'},
            {"policy": '{"rules": [{"rulePriority": 2}, {"rulePriority": 1}]}'},
        ),
    ],
)
def test_what_means_the_same_is_no_change(token: str, old: Any, new: Any):
    assert changes(token, old, new) == []


def test_a_program_that_names_what_aws_chose_changes_nothing():
    state = {"key": "k", "contentType": "application/gzip"}
    assert changes(OBJECT, {"key": "k"}, {"key": "k", "contentType": "application/gzip"}, state) == []
    assert changes(OBJECT, {"key": "k"}, {"key": "k", "contentType": "text/plain"}, state) == ["contentType"]


def test_an_endpoint_that_was_rolled_back_is_updated_again():
    asked, runs = {"endpointConfigName": "new"}, {"endpointConfigName": "old"}
    assert changes(ENDPOINT, asked, asked, {**runs, "tagsAll": {}}) == ["endpointConfigName"]


def test_kinds_of_change_are_told_apart():
    old, new = {"tags": {"a": "1", "b": "1"}}, {"tags": {"b": "2", "c": "1"}}
    found = diff(RESOURCES[BUCKET], old, {}, new, {}).changes
    assert found == (Change("tags.a", "delete"), Change("tags.b", "update"), Change("tags.c", "add"))


def test_another_default_tag_changes_every_tagged_resource():
    inputs = {"bucket": "a", "tags": {"own": "1"}}
    state = {"bucket": "a", "tagsAll": {"own": "1", "stack": "dev"}}
    assert diff(RESOURCES[BUCKET], inputs, state, inputs, {"stack": "dev"}).changes == ()
    assert diff(RESOURCES[BUCKET], inputs, state, inputs, {"stack": "prod"}).changes == (
        Change("tagsAll", "update", of_input=False),
    )


def test_only_a_name_that_the_program_fixed_is_deleted_before_it_is_replaced():
    old = {"name": "m", "executionRoleArn": "a"}
    new = {"name": "m", "executionRoleArn": "b"}
    assert diff(RESOURCES[MODEL], old, old, new, {}).delete_before_replace
    generated = {**new, "__defaults": ["name"]}
    assert not diff(RESOURCES[MODEL], old, old, generated, {}).delete_before_replace
    renamed = {**new, "name": "other"}
    assert not diff(RESOURCES[MODEL], old, old, renamed, {}).delete_before_replace
    moved = ({"bucket": "a", "key": "k"}, {"bucket": "b", "key": "k"})
    assert not diff(RESOURCES[OBJECT], moved[0], moved[0], moved[1], {}).delete_before_replace
