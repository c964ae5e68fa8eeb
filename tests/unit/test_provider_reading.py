"""What was read becomes inputs in the shape of `Check`'s: drift shows, AWS's own additions do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.provider.reading import inputs_from, state_from
from localcloud.provider.resources import RESOURCES

BUCKET = RESOURCES["aws:s3/bucket:Bucket"]
ROLE = RESOURCES["aws:iam/role:Role"]
OBJECT = RESOURCES["aws:s3/bucketObjectv2:BucketObjectv2"]
CONFIGURATION = RESOURCES["aws:sagemaker/endpointConfiguration:EndpointConfiguration"]
LIFECYCLE = RESOURCES["aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"]

TRUST = json.dumps({"Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow"}]})
REWRITTEN = json.dumps({"Statement": {"Effect": "Allow", "Action": ["sts:AssumeRole"]}})
DEFAULT_TAGS = {"stack": "local"}
KNOWN_ROLE = {
    "__defaults": ["maxSessionDuration", "name", "path"],
    "assumeRolePolicy": TRUST,
    "forceDetachPolicies": False,
    "maxSessionDuration": 3600,
    "name": "r-1234567",
    "path": "/",
    "tags": {"own": "1"},
}
LIVE_ROLE = {
    "assumeRolePolicy": REWRITTEN,
    "maxSessionDuration": 3600,
    "name": "r-1234567",
    "path": "/",
    "tags": {"own": "1", "stack": "local", "aws:managed": "x"},
    "arn": "arn:r",
    "createDate": "now",
    "uniqueId": "AROA",
}


def test_an_untouched_resource_reads_as_its_inputs():
    assert inputs_from(ROLE, KNOWN_ROLE, LIVE_ROLE, DEFAULT_TAGS) == KNOWN_ROLE


@pytest.mark.parametrize(
    ("drift", "seen"),
    [
        ({"description": "edited"}, {"description": "edited"}),
        ({"maxSessionDuration": 7200}, {"maxSessionDuration": 7200}),
        ({"assumeRolePolicy": '{"Statement": []}'}, {"assumeRolePolicy": '{"Statement": []}'}),
        ({"tags": {"own": "2", "stack": "local"}}, {"tags": {"own": "2"}}),
        ({"tags": {"own": "1", "stack": "prod"}}, {"tags": {"own": "1", "stack": "prod"}}),
        ({"tags": {"own": "1", "stack": "local", "new": "3"}}, {"tags": {"own": "1", "new": "3"}}),
    ],
)
def test_drift_is_seen(drift: dict[str, Any], seen: dict[str, Any]):
    assert inputs_from(ROLE, KNOWN_ROLE, {**LIVE_ROLE, **drift}, DEFAULT_TAGS) == {**KNOWN_ROLE, **seen}


def test_removed_tags_are_seen():
    read = inputs_from(ROLE, KNOWN_ROLE, {**LIVE_ROLE, "tags": {}}, DEFAULT_TAGS)
    assert "tags" not in read


def test_an_import_takes_all_that_a_program_can_name():
    read = inputs_from(ROLE, {}, LIVE_ROLE, DEFAULT_TAGS)
    assert read == {
        "assumeRolePolicy": REWRITTEN,
        "forceDetachPolicies": False,
        "maxSessionDuration": 3600,
        "name": "r-1234567",
        "path": "/",
        "tags": {"own": "1"},
    }
    variant = {"modelName": "m", "variantName": "generated", "initialInstanceCount": 1}
    read = inputs_from(CONFIGURATION, {}, {"name": "c", "productionVariants": [variant]}, {})
    assert read == {"name": "c", "productionVariants": [variant]}


def test_what_cannot_be_read_back_stays_as_it_is_known():
    known = {"bucket": "b", "key": "k", "content": "text", "sourceHash": "h", "forceDestroy": False}
    live = {"bucket": "b", "key": "k", "contentType": "binary/octet-stream", "storageClass": "STANDARD", "tags": {}}
    assert inputs_from(OBJECT, known, live, {}) == known
    given = {**known, "contentType": "application/gzip"}
    assert inputs_from(OBJECT, given, live, {})["contentType"] == "binary/octet-stream"


def test_nested_values_keep_the_programs_form_and_show_the_rest():
    known = {"bucket": "b", "rules": [{"id": "a", "status": "Enabled", "filter": {}}]}
    live = {"bucket": "b", "rules": [{"id": "a", "status": "Enabled", "filter": {"prefix": ""}}]}
    assert inputs_from(LIFECYCLE, known, live, {}) == known
    drifted = {"bucket": "b", "rules": [{"id": "a", "status": "Disabled", "filter": {"prefix": ""}}]}
    read = inputs_from(LIFECYCLE, known, drifted, {})
    assert read["rules"] == [{"id": "a", "status": "Disabled", "filter": {}}]
    more = {"bucket": "b", "rules": [*live["rules"], {"id": "z", "status": "Enabled", "expiration": {"days": 1}}]}
    read = inputs_from(LIFECYCLE, known, more, {})
    assert [rule["id"] for rule in read["rules"]] == ["a", "z"]


def test_the_state_has_inputs_computed_values_and_all_tags():
    live = {
        "bucket": "b-1",
        "tags": {"own": "1", "stack": "local"},
        "arn": "arn:b",
        "bucketDomainName": "d",
        "bucketRegionalDomainName": "r",
        "bucketRegion": "eu-central-1",
    }
    inputs = {"__defaults": ["bucket"], "bucket": "b-1", "forceDestroy": True, "tags": {"own": "1"}}
    state = state_from(BUCKET, inputs, live, "eu-central-1")
    assert state == {
        **{key: value for key, value in live.items() if key != "tags"},
        "forceDestroy": True,
        "region": "eu-central-1",
        "tags": {"own": "1"},
        "tagsAll": {"own": "1", "stack": "local"},
    }
