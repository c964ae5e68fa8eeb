"""The operations that a resource type calls, as the page on fidelity lists them."""

from __future__ import annotations

import pytest

from localcloud.provider.calls import operations_of
from localcloud.provider.resources import RESOURCES


def test_calls_are_found_in_functions_in_helpers_and_behind_paginators():
    assert operations_of(RESOURCES["aws:sagemaker/model:Model"]) == [
        "AddTags",
        "CreateModel",
        "DeleteModel",
        "DeleteTags",
        "DescribeModel",
        "ListTags",
    ]
    assert "ListAliases" in operations_of(RESOURCES["aws:kms/alias:Alias"])


def test_calls_are_found_in_what_a_bucket_part_was_given():
    assert operations_of(RESOURCES["aws:s3/bucketPolicy:BucketPolicy"]) == [
        "DeleteBucketPolicy",
        "GetBucketPolicy",
        "PutBucketPolicy",
    ]


@pytest.mark.parametrize("token", RESOURCES)
def test_every_type_makes_reads_and_removes(token: str):
    verbs = {"Create", "Put", "Register", "Subscribe", "Set"}
    calls = operations_of(RESOURCES[token])
    assert any(call.startswith(tuple(verbs)) for call in calls)
    assert any(call.startswith(("Get", "Describe", "List", "Head")) for call in calls)
    assert len(calls) >= 2
