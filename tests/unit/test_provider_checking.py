"""`Check` of every resource type: what is completed, and what is refused, with the words that a user reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.provider.checking import check
from localcloud.provider.resources import RESOURCES
from localcloud.provider.values import ASSET, SIGNATURE, UNKNOWN

REGION = "eu-central-1"
SEED = b"seed"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
ASSET_VALUE = {SIGNATURE: ASSET, "hash": "abc", "path": "/tmp/model.tar.gz"}
CONTAINER = {"image": "i", "modelDataUrl": "s3://b/k"}
VARIANT = {"modelName": "m", "variantName": "AllTraffic", "initialInstanceCount": 1, "instanceType": "ml.c7i.large"}
SCALED = {"resourceId": "endpoint/e/variant/v", "scalableDimension": "d", "serviceNamespace": "sagemaker"}
TRACKING = {"targetValue": 600, "predefinedMetricSpecification": {"predefinedMetricType": "M"}}

BUCKET = "aws:s3/bucket:Bucket"
OBJECT = "aws:s3/bucketObjectv2:BucketObjectv2"
ROLE = "aws:iam/role:Role"
MODEL = "aws:sagemaker/model:Model"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
POLICY = "aws:appautoscaling/policy:Policy"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"
LOGS = "aws:cloudwatch/logGroup:LogGroup"
ACTION = "aws:appautoscaling/scheduledAction:ScheduledAction"
KEY = "aws:kms/key:Key"
ALIAS = "aws:kms/alias:Alias"
BUDGET = "aws:budgets/budget:Budget"
STEPS = {"adjustmentType": "ChangeInCapacity", "stepAdjustments": [{"scalingAdjustment": 1}]}

SMALLEST: dict[str, dict[str, Any]] = {
    BUCKET: {},
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": {"bucket": "b"},
    "aws:s3/bucketPolicy:BucketPolicy": {"bucket": "b", "policy": TRUST},
    "aws:s3/bucketVersioning:BucketVersioning": {"bucket": "b", "versioningConfiguration": {"status": "Enabled"}},
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": {
        "bucket": "b",
        "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}],
    },
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": {
        "bucket": "b",
        "rules": [{"id": "old", "status": "Enabled", "expiration": {"days": 3}}],
    },
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": {
        "bucket": "b",
        "rule": {"objectOwnership": "BucketOwnerEnforced"},
    },
    OBJECT: {"bucket": "b", "source": ASSET_VALUE},
    ROLE: {"assumeRolePolicy": TRUST},
    "aws:iam/rolePolicy:RolePolicy": {"role": "r", "policy": TRUST},
    MODEL: {"executionRoleArn": "arn", "primaryContainer": CONTAINER},
    CONFIGURATION: {"productionVariants": [VARIANT]},
    ENDPOINT: {"endpointConfigName": "c"},
    "aws:appautoscaling/target:Target": {**SCALED, "minCapacity": 1, "maxCapacity": 3},
    POLICY: {
        **SCALED,
        "policyType": "TargetTrackingScaling",
        "targetTrackingScalingPolicyConfiguration": TRACKING,
    },
    ACTION: {**SCALED, "schedule": "cron(0 20 * * ? *)", "scalableTargetAction": {"minCapacity": 0}},
    ALARM: {
        "comparisonOperator": "GreaterThanThreshold",
        "evaluationPeriods": 1,
        "threshold": 0,
        "namespace": "N",
        "metricName": "M",
        "statistic": "Sum",
        "period": 60,
    },
    DASHBOARD: {"dashboardName": "d", "dashboardBody": '{"widgets": []}'},
    LOGS: {},
    "aws:sns/topic:Topic": {},
    "aws:sns/topicPolicy:TopicPolicy": {"arn": "arn", "policy": TRUST},
    "aws:sns/topicSubscription:TopicSubscription": {"topic": "arn", "protocol": "email", "endpoint": "a@example.com"},
    KEY: {},
    ALIAS: {"targetKeyId": "k"},
    "aws:s3/bucketLogging:BucketLogging": {"bucket": "b", "targetBucket": "l", "targetPrefix": "p/"},
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration": {"bucket": "b"},
    "aws:s3/bucketNotification:BucketNotification": {
        "bucket": "b",
        "topics": [{"topicArn": "arn", "events": ["s3:ObjectCreated:*"]}],
    },
    BUDGET: {"budgetType": "COST", "timeUnit": "MONTHLY", "limitAmount": "1", "limitUnit": "USD"},
    "aws:ecr/repository:Repository": {},
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": {"repository": "r", "policy": '{"rules": []}'},
}


def checked(token: str, news: dict[str, Any], olds: dict[str, Any] | None = None, name: str = "Logical"):
    return check(RESOURCES[token], name, olds or {}, news, SEED, REGION)


def reasons(token: str, /, **changes: Any) -> list[str]:
    news = {**SMALLEST[token], **changes}
    return [reason for _, reason in checked(token, news)[1]]


def test_every_type_has_a_smallest_program():
    assert set(SMALLEST) == set(RESOURCES)


@pytest.mark.parametrize("token", RESOURCES)
def test_the_smallest_program_is_accepted_and_checking_it_again_changes_nothing(token: str):
    inputs, failures = checked(token, SMALLEST[token])
    assert failures == []
    assert SMALLEST[token].keys() <= inputs.keys()
    again, failures = checked(token, SMALLEST[token], olds=inputs)
    assert failures == []
    assert again == inputs


@pytest.mark.parametrize("token", RESOURCES)
def test_what_is_not_known_before_the_update_is_no_mistake(token: str):
    for key, declared in RESOURCES[token].inputs.items():
        if key in SMALLEST[token] or declared.kind in ("object", "list"):
            other = {"policyType": "StepScaling"} if key == "stepScalingPolicyConfiguration" else {}
            left = {"targetTrackingScalingPolicyConfiguration", *exclusive(key)} if other else exclusive(key)
            given = {name: value for name, value in SMALLEST[token].items() if name not in left}
            assert checked(token, {**given, **other, key: UNKNOWN})[1] == []
            if declared.kind == "list" and not declared.single:
                assert checked(token, {**given, **other, key: [UNKNOWN]})[1] == []


def exclusive(key: str) -> set[str]:
    """What the smallest program gives in the place of a property."""
    single = {"metricName", "namespace", "period", "statistic"}
    return {"containers": {"primaryContainer"}, "metricQueries": single}.get(key, set())


@pytest.mark.parametrize("token", RESOURCES)
def test_a_misspelt_property_is_refused_with_the_ones_that_exist(token: str):
    (reason,) = reasons(token, colour="blue")
    assert reason.startswith(f"colour: is not a property of it ({RESOURCES[token].label}); supported: ")
    assert all(name in reason for name in RESOURCES[token].inputs)


@pytest.mark.parametrize("token", [token for token in RESOURCES if RESOURCES[token].rejected])
def test_a_property_that_only_upstream_has_is_refused_as_such(token: str):
    for name in RESOURCES[token].rejected:
        (reason,) = reasons(token, **{name: "x"})
        assert reason.startswith(f"{name}: is not implemented by the local provider")


@pytest.mark.parametrize(
    ("token", "missing"),
    [(token, name) for token, one in RESOURCES.items() for name, it in one.inputs.items() if it.required],
)
def test_a_missing_property_is_named(token: str, missing: str):
    news = {key: value for key, value in SMALLEST[token].items() if key != missing}
    assert [path for path, _ in checked(token, news)[1]] == [missing]


@pytest.mark.parametrize(
    ("token", "changes", "reason"),
    [
        (BUCKET, {"forceDestroy": "yes"}, "forceDestroy: must be a boolean, is 'yes'"),
        (BUCKET, {"tags": {"a": 1}}, "tags.a: must be a string, is 1"),
        (BUCKET, {"region": "us-east-1"}, "region: is 'us-east-1', but this provider's region is 'eu-central-1'"),
        (ROLE, {"assumeRolePolicy": "{"}, "assumeRolePolicy: is not JSON"),
        (ROLE, {"maxSessionDuration": True}, "maxSessionDuration: must be a integer, is True"),
        (OBJECT, {"source": {SIGNATURE: "archive"}}, "source: must be an asset"),
        (OBJECT, {"content": "text"}, "content: conflicts with source"),
        (MODEL, {"primaryContainer": {"mode": "MultiModel"}}, "primaryContainer.mode: is 'MultiModel'"),
        (
            MODEL,
            {"primaryContainer": {"multiModelConfig": {}}},
            "primaryContainer.multiModelConfig: is not implemented",
        ),
        (MODEL, {"containers": [CONTAINER]}, "primaryContainer: give either it or containers"),
        (
            MODEL,
            {"containers": [CONTAINER] * 2, "primaryContainer": None},
            "containers: the local AWS hosts models of one",
        ),
        (CONFIGURATION, {"productionVariants": [{}]}, "productionVariants[0].modelName: is required"),
        (
            CONFIGURATION,
            {"productionVariants": [{**VARIANT, "managedInstanceScaling": {}}]},
            "productionVariants[0].managedInstanceScaling: is not implemented",
        ),
        (
            CONFIGURATION,
            {"productionVariants": [{"modelName": "m", "initialInstanceCount": 1}]},
            "productionVariants[0]: needs initialInstanceCount and instanceType, or serverlessConfig",
        ),
        (
            CONFIGURATION,
            {
                "shadowProductionVariants": [
                    {
                        "modelName": "m",
                        "instanceType": "x",
                        "serverlessConfig": {"maxConcurrency": 1, "memorySizeInMb": 1024},
                    }
                ]
            },
            "shadowProductionVariants[0].instanceType: conflicts with serverlessConfig",
        ),
        (
            CONFIGURATION,
            {"productionVariants": [{**VARIANT, "routingConfigs": [{"routingStrategy": "RANDOM"}] * 2}]},
            "productionVariants[0].routingConfigs: takes one object, has 2",
        ),
        (
            ENDPOINT,
            {
                "deploymentConfig": {
                    "blueGreenUpdatePolicy": {
                        "trafficRoutingConfiguration": {"type": "ALL_AT_ONCE", "waitIntervalInSeconds": 0}
                    },
                    "rollingUpdatePolicy": {
                        "maximumBatchSize": {"type": "INSTANCE_COUNT", "value": 1},
                        "waitIntervalInSeconds": 0,
                    },
                }
            },
            "deploymentConfig.rollingUpdatePolicy: conflicts with blueGreenUpdatePolicy",
        ),
        (
            POLICY,
            {"policyType": "PredictiveScaling"},
            "policyType: is 'PredictiveScaling'; implemented locally: StepScaling",
        ),
        (
            POLICY,
            {"stepScalingPolicyConfiguration": STEPS},
            "stepScalingPolicyConfiguration: is needed where policyType is StepScaling, and only there",
        ),
        (
            POLICY,
            {
                "policyType": "StepScaling",
                "targetTrackingScalingPolicyConfiguration": None,
                "stepScalingPolicyConfiguration": {
                    "stepAdjustments": [{"scalingAdjustment": 1, "metricIntervalLowerBound": "low"}]
                },
            },
            "stepScalingPolicyConfiguration.stepAdjustments.metricIntervalLowerBound: must be a number as text",
        ),
        (ACTION, {"startTime": "tomorrow"}, "startTime: must be a moment like 2027-01-31T09:00:00Z, is 'tomorrow'"),
        (ACTION, {"endTime": "2027-01-31T09:00:00"}, "endTime: must be a moment like"),
        (ACTION, {"scalableTargetAction": {}}, "scalableTargetAction: needs minCapacity, maxCapacity or both"),
        (ALARM, {"extendedStatistic": "p99"}, "statistic: give either it or extendedStatistic"),
        (ALARM, {"namespace": None}, "namespace: is needed where there are no metricQueries"),
        (DASHBOARD, {"dashboardBody": "[]"}, "dashboardBody: needs `widgets`, a list"),
        (
            DASHBOARD,
            {"dashboardBody": '{"widgets": [{"type": "pie"}]}'},
            "dashboardBody: widgets[0] needs a `type`: alarm",
        ),
        (
            DASHBOARD,
            {"dashboardBody": '{"widgets": [{"type": "text", "properties": {}, "x": 20, "width": 6}]}'},
            "dashboardBody: widgets[0] must lie within 24 columns",
        ),
        (LOGS, {"retentionInDays": 2}, "retentionInDays: is 2; CloudWatch Logs takes 0, 1, 3, 5"),
        (KEY, {"deletionWindowInDays": 3}, "deletionWindowInDays: must be 7 to 30 days, is 3"),
        (KEY, {"rotationPeriodInDays": 90}, "rotationPeriodInDays: needs enableKeyRotation"),
        (ALIAS, {"name": "mine"}, "name: must begin with alias/"),
        (BUDGET, {"timePeriodStart": "2027"}, "timePeriodStart: must be like 2027-01-31_00:00, is '2027'"),
        (
            BUDGET,
            {
                "notifications": [
                    {"comparisonOperator": "c", "notificationType": "n", "threshold": 1, "thresholdType": "t"}
                ]
            },
            "notifications[0]: needs a subscriber, by mail or topic",
        ),
        (
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
            {"rules": [{"id": "x", "status": "On"}]},
            "rules[0].status: is 'On'; implemented locally: Enabled, Disabled",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(token: str, changes: dict[str, Any], reason: str):
    (said,) = reasons(token, **changes)
    assert said.startswith(reason)


def test_base64_that_is_none_is_refused():
    _, failures = checked(OBJECT, {"bucket": "b", "contentBase64": "*"})
    assert failures[0][1].startswith("contentBase64: is not base64")


def test_all_problems_are_told_at_once():
    odd = {"multiModelConfig": {}, "speed": 1}
    said = reasons(MODEL, primaryContainer=odd, executionRoleArn=3, inferenceExecutionConfig={})
    assert sorted(reason.split(":")[0] for reason in said) == [
        "executionRoleArn",
        "inferenceExecutionConfig",
        "primaryContainer.multiModelConfig",
        "primaryContainer.speed",
    ]


def test_upstreams_defaults_are_filled_in_and_marked():
    inputs, _ = checked(ROLE, SMALLEST[ROLE])
    assert (inputs["path"], inputs["maxSessionDuration"], inputs["forceDetachPolicies"]) == ("/", 3600, False)
    assert inputs["__defaults"] == ["forceDetachPolicies", "maxSessionDuration", "name", "path"]
    inputs, _ = checked(CONFIGURATION, SMALLEST[CONFIGURATION])
    assert inputs["productionVariants"] == [{**VARIANT, "initialVariantWeight": 1}]
    inputs, _ = checked(MODEL, SMALLEST[MODEL])
    assert inputs["primaryContainer"] == {**CONTAINER, "mode": "SingleModel"}


def test_unknown_values_pass_wherever_they_stand():
    for token, news in SMALLEST.items():
        _, failures = checked(token, dict.fromkeys(news, UNKNOWN))
        assert [one for one in failures if one[0] != "policyType"] == []
    _, failures = checked(CONFIGURATION, {"productionVariants": [{**VARIANT, "modelName": UNKNOWN}]})
    assert failures == []


def test_a_policy_given_as_an_object_becomes_text_or_wholly_unknown():
    inputs, _ = checked(ROLE, {"assumeRolePolicy": {"Statement": []}})
    assert inputs["assumeRolePolicy"] == '{"Statement": []}'
    inputs, _ = checked(ROLE, {"assumeRolePolicy": {"Statement": [{"Resource": UNKNOWN}]}})
    assert inputs["assumeRolePolicy"] == UNKNOWN


def test_a_name_is_the_logical_one_and_seven_hexadecimal_digits_of_the_seed():
    inputs, _ = checked(ENDPOINT, SMALLEST[ENDPOINT])
    assert inputs["name"][:8] == "Logical-"
    assert len(inputs["name"]) == 15
    assert set(inputs["name"][8:]) <= set("0123456789abcdef")
    assert checked(ENDPOINT, SMALLEST[ENDPOINT])[0]["name"] == inputs["name"]
    other, _ = check(RESOURCES[ENDPOINT], "Logical", {}, SMALLEST[ENDPOINT], b"another", REGION)
    assert other["name"] != inputs["name"]


def test_a_buckets_name_is_in_lower_case_and_an_objects_key_is_the_logical_name():
    assert checked(BUCKET, {})[0]["bucket"].startswith("logical-")
    assert checked(OBJECT, SMALLEST[OBJECT])[0]["key"] == "Logical"


def test_an_update_keeps_the_old_name_and_a_replacement_gets_a_new_one():
    olds = {"name": "Logical-1234567", "__defaults": ["name"]}
    assert checked(ENDPOINT, SMALLEST[ENDPOINT], olds)[0]["name"] == "Logical-1234567"
    # The engine checks a replacement without the old inputs.
    assert checked(ENDPOINT, SMALLEST[ENDPOINT])[0]["name"] != "Logical-1234567"


def test_a_name_that_the_program_no_longer_gives_is_not_kept():
    olds = {"name": "chosen", "__defaults": []}
    assert checked(ENDPOINT, SMALLEST[ENDPOINT], olds)[0]["name"] != "chosen"


def test_a_prefix_takes_the_place_of_a_name():
    inputs, failures = checked(ROLE, {**SMALLEST[ROLE], "namePrefix": "exec-"})
    assert failures == []
    assert "name" not in inputs


def test_a_name_that_aws_would_refuse_is_refused_before():
    _, failures = checked(ENDPOINT, SMALLEST[ENDPOINT], name="e" * 60)
    assert failures[0][1].endswith("is longer than 63 characters; give a shorter name")
