"""The policy pack's rules as plain functions: each passes what is right and names what is wrong."""

import json
import re
from pathlib import Path

import pytest

from infra import policies
from infra.images import Repository
from infra.policy.resources import UNKNOWN, Resource, Stack, setting
from infra.policy.rules import RULES, message, violations

BUCKET = Resource("aws:s3/bucket:Bucket", "urn:pulumi:dev::p::aws:s3/bucket:Bucket::b", "b", {"bucket": "b-1"})
WANTED = """S3.1 S3.2 S3.3 S3.5 S3.6 S3.8 S3.9 S3.12 S3.13 S3.14 S3.15 S3.17 SageMaker.4 SageMaker.5
    CKV_AWS_98 CKV_AWS_370 CKV_AWS_18 CKV_AWS_19 CKV_AWS_20 CKV_AWS_21 CKV_AWS_53 CKV_AWS_54 CKV_AWS_55 CKV_AWS_56
    CKV_AWS_57 CKV_AWS_145 CKV_AWS_300 CKV_AWS_62 CKV_AWS_63 CKV_AWS_286 CKV_AWS_288 CKV_AWS_289 CKV_AWS_290
    CKV_AWS_355"""


def made(token, properties, name="x", **refers):
    return Resource(
        token, f"urn:pulumi:dev::p::{token}::{name}", name, properties, {k: (v,) for k, v in refers.items()}
    )


def part(kind, properties):
    """A resource that configures BUCKET, whose name a preview does not know yet."""
    token = f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}"
    return made(token, {"bucket": UNKNOWN, **properties}, bucket=BUCKET.urn)


def broken(rule, *resources, stack="dev"):
    """What a rule says of a stack."""
    (found,) = [one for one in RULES if one.name == rule]
    return [message(found, violation) for violation in found.check(Stack(stack, resources))]


def allow(**statement):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}


CLOSED = dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True)
ENCRYPTED = {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]}
LIFECYCLE = {"rules": [{"status": "Enabled", "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7}}]}
TLS = {"policy": json.dumps(policies.tls_only("arn:aws:s3:::b-1"))}
GOOD = {
    "s3-public-access-blocked": part("BucketPublicAccessBlock", CLOSED),
    "s3-no-acls": part("BucketOwnershipControls", {"rule": {"objectOwnership": "BucketOwnerEnforced"}}),
    "s3-tls-only": part("BucketPolicy", TLS),
    "s3-encrypted": part("BucketServerSideEncryptionConfiguration", ENCRYPTED),
    "s3-own-key": part("BucketServerSideEncryptionConfiguration", ENCRYPTED),
    "s3-versioned": part("BucketVersioning", {"versioningConfiguration": {"status": "Enabled"}}),
    "s3-cleaned-up": part("BucketLifecycleConfiguration", LIFECYCLE),
    "s3-access-log": part("BucketLogging", {"targetBucket": "logs"}),
    "s3-object-lock": part("BucketObjectLockConfiguration", {}),
}


def test_every_control_that_is_wanted_has_a_rule_and_every_rule_a_name_of_its_own():
    assert {control for rule in RULES for control in rule.controls} >= set(WANTED.split())
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", GOOD)
def test_a_bucket_passes_with_its_part(rule):
    assert broken(rule, BUCKET, GOOD[rule]) == []


@pytest.mark.parametrize("rule", [rule for rule in GOOD if rule != "s3-own-key"])
def test_a_bucket_without_its_part_is_named(rule):
    (said,) = broken(rule, BUCKET)
    assert said.startswith("b ")


@pytest.mark.parametrize("rule", GOOD)
def test_the_part_of_another_bucket_does_not_count(rule):
    other = Resource(BUCKET.type, BUCKET.urn + "2", "b2", {"bucket": "b-2", "objectLockEnabled": True})
    expected = 0 if rule == "s3-object-lock" else 1
    if rule == "s3-own-key":
        expected = 0  # it judges what is encrypted; what is not is another rule's
    assert len(broken(rule, BUCKET, other, GOOD[rule])) == expected


def test_a_part_is_found_by_the_buckets_name_where_nothing_refers_to_it():
    block = made("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", {"bucket": "b-1", **CLOSED})
    assert broken("s3-public-access-blocked", BUCKET, block) == []


@pytest.mark.parametrize("flag", CLOSED)
def test_a_single_flag_that_is_off_is_named(flag):
    (said,) = broken("s3-public-access-blocked", BUCKET, part("BucketPublicAccessBlock", CLOSED | {flag: False}))
    assert f"leaves {flag} off" in said
    assert "CKV_AWS_53" in said


@pytest.mark.parametrize(
    ("kind", "properties", "rule"),
    [
        ("BucketOwnershipControls", {"rule": {"objectOwnership": "ObjectWriter"}}, "s3-no-acls"),
        ("BucketVersioning", {"versioningConfiguration": {"status": "Suspended"}}, "s3-versioned"),
        ("BucketLifecycleConfiguration", {"rules": [{"status": "Disabled"}]}, "s3-cleaned-up"),
        ("BucketLifecycleConfiguration", {"rules": [{"status": "Enabled"}]}, "s3-cleaned-up"),
        (
            "BucketServerSideEncryptionConfiguration",
            {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
            "s3-own-key",
        ),
        ("BucketPolicy", {"policy": json.dumps(allow(Principal="*", Action="s3:GetObject"))}, "s3-tls-only"),
    ],
)
def test_a_part_with_the_wrong_value_breaks_its_rule(kind, properties, rule):
    assert len(broken(rule, BUCKET, part(kind, properties))) == 1


@pytest.mark.parametrize(
    ("kind", "properties", "rule"),
    [
        ("BucketPolicy", {"policy": UNKNOWN}, "s3-tls-only"),
        ("BucketPublicAccessBlock", dict.fromkeys(CLOSED, UNKNOWN), "s3-public-access-blocked"),
        ("BucketVersioning", {"versioningConfiguration": UNKNOWN}, "s3-versioned"),
        ("BucketOwnershipControls", {"rule": UNKNOWN}, "s3-no-acls"),
    ],
)
def test_what_a_preview_cannot_know_breaks_nothing(kind, properties, rule):
    assert broken(rule, BUCKET, part(kind, properties)) == []


def test_a_public_acl_is_named():
    public = Resource(BUCKET.type, BUCKET.urn, "b", {"bucket": "b-1", "acl": "public-read"})
    assert "public-read" in broken("s3-no-acls", public, GOOD["s3-no-acls"])[0]


def test_a_bucket_that_takes_logs_needs_no_log_itself():
    logs = Resource(BUCKET.type, BUCKET.urn + "-logs", "logs", {"bucket": "logs"})
    assert broken("s3-access-log", BUCKET, logs, GOOD["s3-access-log"]) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Principal": "*", "Action": "s3:GetObject"}, "allows everyone"),
        ({"Principal": {"AWS": "*"}, "Action": "s3:GetObject"}, "allows everyone"),
        ({"Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "s3:PutBucketPolicy"}, "change the bucket"),
        ({"Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": ["s3:*"]}, "change the bucket"),
    ],
)
def test_a_bucket_policy_that_gives_too_much_is_named(statement, expected):
    (said,) = broken("s3-no-foreign-rights", BUCKET, part("BucketPolicy", {"policy": allow(**statement)}))
    assert expected in said


def test_a_bucket_policy_may_let_others_read():
    reading = allow(Principal={"AWS": "arn:aws:iam::111122223333:root"}, Action="s3:GetObject", Resource="x")
    assert broken("s3-no-foreign-rights", BUCKET, part("BucketPolicy", {"policy": reading})) == []


def role_policy(**statement):
    return made("aws:iam/rolePolicy:RolePolicy", {"policy": json.dumps(allow(**statement))})


@pytest.mark.parametrize(
    ("rule", "statement", "expected"),
    [
        ("iam-actions-named", {"Action": "*", "Resource": "x"}, "every action"),
        ("iam-actions-named", {"NotAction": "iam:*", "Resource": "x"}, "every action"),
        ("iam-actions-named", {"Action": ["s3:GetObject", "s3:*"], "Resource": "x"}, "all of s3"),
        ("iam-resources-named", {"Action": "s3:GetObject", "Resource": "*"}, "s3:getobject on every resource"),
        ("iam-resources-named", {"Action": "s3:GetObject", "NotResource": "x"}, "on every resource"),
        ("iam-resources-named", {"Action": "cloudwatch:PutMetricData", "Resource": "*"}, "every namespace"),
        ("iam-no-escalation", {"Action": "iam:PassRole", "Resource": "x"}, "further rights: iam:passrole"),
        ("iam-no-escalation", {"Action": "iam:*", "Resource": "x"}, "further rights"),
        ("iam-no-escalation", {"Action": "iam:AttachRolePolicy", "Resource": "x"}, "iam:attachrolepolicy"),
        ("iam-no-exposure", {"Action": "s3:PutBucketPolicy", "Resource": "x"}, "open resources"),
        ("iam-no-exposure", {"Action": "kms:*", "Resource": "x"}, "open resources"),
        ("iam-no-exposure", {"Action": "kms:CreateGrant", "Resource": "x"}, "open resources"),
    ],
)
def test_a_policy_that_grants_too_much_is_named(rule, statement, expected):
    (said,) = broken(rule, role_policy(**statement))
    assert expected in said


def test_inline_policies_of_a_role_are_judged_too():
    role = made("aws:iam/role:Role", {"inlinePolicies": [{"policy": json.dumps(allow(Action="*", Resource="*"))}]})
    assert len(broken("iam-actions-named", role)) == 1


def test_the_means_that_aws_knows_no_narrower_resource_for_are_allowed():
    vpc = ["ec2:CreateNetworkInterface", "ec2:DescribeVpcs", "ecr:GetAuthorizationToken"]
    assert broken("iam-resources-named", role_policy(Action=vpc, Resource="*")) == []


def test_a_denial_grants_nothing():
    document = {"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    denial = made("aws:iam/rolePolicy:RolePolicy", {"policy": json.dumps(document)})
    assert list(violations(Stack("dev", (denial,)))) == []


@pytest.mark.parametrize(
    "arn", ["arn:aws:iam::aws:policy/AmazonSageMakerFullAccess", "arn:aws:iam::aws:policy/AdministratorAccess"]
)
def test_full_access_is_named_however_it_is_attached(arn):
    attached = made("aws:iam/rolePolicyAttachment:RolePolicyAttachment", {"policyArn": arn})
    managed = made("aws:iam/role:Role", {"managedPolicyArns": [arn]})
    assert len(broken("iam-no-full-access", attached, managed)) == 2


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ({"Principal": {"Service": "sagemaker.amazonaws.com"}}, 1),
        ({"Principal": "*"}, 1),
        ({"Principal": {"AWS": ["*"]}}, 1),
        (
            {
                "Principal": {"Service": "sagemaker.amazonaws.com"},
                "Condition": {"StringEquals": {"aws:SourceAccount": "1"}},
            },
            0,
        ),
    ],
)
def test_a_role_is_trusted_for_this_account_alone(statement, number):
    role = made("aws:iam/role:Role", {"assumeRolePolicy": json.dumps(allow(Action="sts:AssumeRole", **statement))})
    assert len(broken("iam-trust-named", role)) == number


def test_the_policies_that_infra_writes_break_no_rule():
    granted = policies.endpoint_execution(
        partition="aws",
        region="eu-west-1",
        account="123456789012",
        bucket_arn="arn:aws:s3:::b",
        artifact_key="news/0.tar.gz",
        image=Repository("123456789012", "eu-west-1", "slim"),
        log_group="/aws/sagemaker/Endpoints/news-dev",
        grants=policies.Grants(
            read_prefixes=("in/",),
            write_prefixes=("out/",),
            alarms="news-dev",
            topic_arns=("arn:aws:sns:eu-west-1:123456789012:t",),
            key_arn="arn:aws:kms:eu-west-1:123456789012:key/k",
            subnets=("subnet-0a1b2c3d",),
            security_groups=("sg-0a1b2c3d",),
        ),
    )
    trust = policies.assumed_by_sagemaker("aws", "eu-west-1", "123456789012")
    stack = Stack(
        "prod",
        (
            made("aws:iam/rolePolicy:RolePolicy", {"policy": json.dumps(granted)}),
            made("aws:iam/role:Role", {"assumeRolePolicy": json.dumps(trust)}),
        ),
    )
    assert [message(*one) for one in violations(stack)] == []


def configuration(*variants, **properties):
    return made(
        "aws:sagemaker/endpointConfiguration:EndpointConfiguration",
        {"productionVariants": list(variants), **properties},
    )


def test_one_instance_is_named_and_two_serverless_and_async_are_not():
    one, two = {"variantName": "A", "initialInstanceCount": 1}, {"variantName": "A", "initialInstanceCount": 2}
    assert "variant A starts with one instance" in broken("sagemaker-redundant", configuration(one))[0]
    assert len(broken("sagemaker-redundant", configuration({"variantName": "A"}))) == 1
    for good in (
        configuration(two),
        configuration({"serverlessConfig": {"memorySizeInMb": 2048}}),
        configuration(one, asyncInferenceConfig={"outputConfig": {}}),
        configuration(one | {"initialInstanceCount": UNKNOWN}),
    ):
        assert broken("sagemaker-redundant", good) == []


def test_disks_without_a_key_are_named_where_there_are_disks():
    assert len(broken("sagemaker-disks-encrypted", configuration({}))) == 1
    assert broken("sagemaker-disks-encrypted", configuration({}, kmsKeyArn=UNKNOWN)) == []
    assert broken("sagemaker-disks-encrypted", configuration({"serverlessConfig": {"maxConcurrency": 1}})) == []


def test_a_model_with_a_network_is_named():
    for value, number in ((True, 0), (UNKNOWN, 0), (False, 1), (None, 1)):
        model = made("aws:sagemaker/model:Model", {"enableNetworkIsolation": value})
        assert len(broken("sagemaker-network-isolation", model)) == number


def test_a_repository_is_immutable_scanned_and_encrypted():
    token = "aws:ecr/repository:Repository"
    good = made(
        token,
        {
            "imageTagMutability": "IMMUTABLE",
            "imageScanningConfiguration": {"scanOnPush": True},
            "encryptionConfigurations": [{"encryptionType": "KMS"}],
        },
    )
    assert list(violations(Stack("prod", (good,)))) == []
    assert {rule.name for rule, _ in violations(Stack("prod", (made(token, {}),)))} == {
        "ecr-immutable",
        "ecr-scanned",
        "ecr-encrypted",
    }


def test_a_rule_of_production_is_mandatory_there_alone():
    (rule,) = [one for one in RULES if one.name == "sagemaker-redundant"]
    assert [rule.level(stack) for stack in ("prod", "dev", "local")] == ["mandatory", "advisory", "advisory"]


def test_a_way_through_unknown_values_is_unknown_and_through_missing_ones_nothing():
    assert setting({"a": UNKNOWN}, "a", "b") is UNKNOWN
    assert setting({"a": [{"b": 1}]}, "a", 0, "b") == 1
    assert setting({"a": 1}, "a", "b") is None


def test_the_page_lists_every_rule_with_its_controls_and_where_it_is_mandatory():
    page = (Path(__file__).parents[2] / "docs/security.md").read_text()
    rows = {
        name: (controls, level)
        for name, controls, level in re.findall(
            r"^\| `([a-z0-9-]+)` \|[^|]*\| ([^|]*) \| (\w+) \|$", page, re.MULTILINE
        )
    }
    assert rows == {rule.name: (", ".join(rule.controls) or "–", rule.mandatory) for rule in RULES}
