"""A Pulumi state as a Terraform plan, and what the page says of checkov's findings. checkov itself: `make checkov`."""

import pytest

from bench import checkov_state, terraform_plan
from bench.checkov_state import Failure
from localcloud.provider.resources import RESOURCES


def urn(token, name):
    return f"urn:pulumi:local::slipway::{token}::{name}"


BUCKET, PART = "aws:s3/bucket:Bucket", "aws:s3/bucketVersioning:BucketVersioning"
STATE = [
    {"type": "pulumi:pulumi:Stack", "urn": urn("pulumi:pulumi:Stack", "s")},
    {"type": "slipway:infra:ArtifactBucket", "urn": urn("slipway:infra:ArtifactBucket", "b")},
    {
        "type": BUCKET,
        "urn": urn(BUCKET, "b.1"),
        "inputs": {"forceDestroy": True, "__defaults": []},
        "outputs": {"bucket": "b-0", "tagsAll": {"slipway:stack": "local"}},
    },
    {
        "type": PART,
        "urn": urn(PART, "b"),
        "inputs": {"versioningConfiguration": {"status": "Enabled"}},
        "outputs": {"bucket": "b-0"},
        "propertyDependencies": {"bucket": [urn(BUCKET, "b.1")], "versioningConfiguration": []},
    },
]


def planned(plan):
    return {one["address"]: one["values"] for one in plan["planned_values"]["root_module"]["resources"]}


def test_resources_of_aws_become_terraforms_with_their_values_in_its_case():
    found = planned(terraform_plan.plan(STATE))
    assert found == {
        "aws_s3_bucket.b_1": {"force_destroy": True, "bucket": "b-0", "tags_all": {"slipway:stack": "local"}},
        "aws_s3_bucket_versioning.b": {"versioning_configuration": [{"status": "Enabled"}], "bucket": "b-0"},
    }


def test_a_part_refers_to_its_bucket():
    configured = terraform_plan.plan(STATE)["configuration"]["root_module"]["resources"]
    (part,) = [one for one in configured if one["type"] == "aws_s3_bucket_versioning"]
    assert part["expressions"] == {"bucket": {"references": ["aws_s3_bucket.b_1.id", "aws_s3_bucket.b_1"]}}


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("aws:s3/bucketObjectv2:BucketObjectv2", "aws_s3_object"),
        ("aws:sagemaker/endpointConfiguration:EndpointConfiguration", "aws_sagemaker_endpoint_configuration"),
        ("aws:iam/rolePolicy:RolePolicy", "aws_iam_role_policy"),
        ("aws:ecr/lifecyclePolicy:LifecyclePolicy", "aws_ecr_lifecycle_policy"),
        ("aws:kms/key:Key", "aws_kms_key"),
    ],
)
def test_types_have_terraforms_names(token, expected):
    assert terraform_plan.terraform_type(token) == expected


def test_every_type_of_the_local_provider_has_a_name_of_its_own():
    names = [terraform_plan.terraform_type(token) for token in RESOURCES]
    assert len(set(names)) == len(names)


def test_blocks_are_lists_keys_of_users_stay_and_what_has_no_value_goes():
    state = [
        {
            "type": "aws:sagemaker/model:Model",
            "urn": urn("aws:sagemaker/model:Model", "m"),
            "outputs": {
                "primaryContainer": {"image": "i", "environment": {"MyKey": "v"}},
                "vpcConfig": None,
                "tags": {"aKey": "b"},
            },
        }
    ]
    (values,) = planned(terraform_plan.plan(state)).values()
    assert values == {"primary_container": [{"image": "i", "environment": {"MyKey": "v"}}], "tags": {"aKey": "b"}}


PAGE = f"""# x
{checkov_state.MARKS[0]}
| Check | Resource | Why |
|---|---|---|
| `CKV_AWS_1` | `aws_s3_bucket` | because |
{checkov_state.MARKS[1]}
| `CKV_AWS_9` | `aws_s3_bucket` | not in the table |
"""


def test_the_pages_table_is_read_between_its_marks():
    assert checkov_state.reasons(PAGE) == {("CKV_AWS_1", "aws_s3_bucket"): "because"}


def test_a_finding_without_an_excuse_and_an_excuse_without_a_finding_are_told_apart():
    excused = Failure("CKV_AWS_1", "aws_s3_bucket.b", "")
    other = Failure("CKV_AWS_1", "aws_iam_role.r", "")
    assert checkov_state.compare([excused], checkov_state.reasons(PAGE)) == ([], set())
    assert checkov_state.compare([excused, other], checkov_state.reasons(PAGE)) == ([other], set())
    assert checkov_state.compare([], checkov_state.reasons(PAGE)) == ([], {("CKV_AWS_1", "aws_s3_bucket")})


def test_every_exception_of_the_shipped_page_has_a_reason():
    found = checkov_state.reasons(checkov_state.PAGE.read_text())
    assert found
    assert all(len(reason) > 30 for reason in found.values())
