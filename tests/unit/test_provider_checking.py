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
}


def checked(token: str, news: dict[str, Any], olds: dict[str, Any] | None = None, name: str = "Logical"):
    return check(RESOURCES[token], name, olds or {}, news, SEED, REGION)


def reasons(token: str, **changes: Any) -> list[str]:
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
        (MODEL, {"primaryContainer": {"imageConfig": {}}}, "primaryContainer.imageConfig: is not implemented"),
        (CONFIGURATION, {"productionVariants": [{}]}, "productionVariants[0].modelName: is required"),
        (
            CONFIGURATION,
            {"productionVariants": [{**VARIANT, "serverlessConfig": {}}]},
            "productionVariants[0].serverlessConfig: is not implemented",
        ),
        (POLICY, {"policyType": None}, "policyType: is 'StepScaling'; implemented locally: TargetTrackingScaling"),
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
    said = reasons(MODEL, primaryContainer={"imageConfig": {}, "speed": 1}, executionRoleArn=3, vpcConfig={})
    assert sorted(reason.split(":")[0] for reason in said) == [
        "executionRoleArn",
        "primaryContainer.imageConfig",
        "primaryContainer.speed",
        "vpcConfig",
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
