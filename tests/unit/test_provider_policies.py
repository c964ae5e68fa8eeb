"""Policy documents that mean the same have one canonical form; others do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.provider.policies import canonical_document

STATEMENT = {
    "Effect": "Allow",
    "Action": ["s3:GetObject", "s3:PutObject"],
    "Resource": ["a", "b"],
    "Principal": {"AWS": ["x", "y"]},
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def same(left: Any, right: Any) -> bool:
    documents = [json.dumps({"Version": "2012-10-17", "Statement": statement}) for statement in (left, right)]
    return canonical_document(documents[0]) == canonical_document(documents[1])


@pytest.mark.parametrize(
    "other",
    [
        [STATEMENT],
        dict(reversed(STATEMENT.items())),
        {**STATEMENT, "Action": ["s3:PutObject", "s3:GetObject"]},
        {**STATEMENT, "Resource": ["b", "a", "a"]},
        {**STATEMENT, "Principal": {"AWS": ["y", "x"]}},
        {**STATEMENT, "Condition": {"Bool": {"aws:SecureTransport": ["false"]}}},
        {**STATEMENT, "Condition": {"Bool": {"aws:SecureTransport": False}}},
        {**STATEMENT, "Sid": ""},
    ],
)
def test_the_same_meaning_is_the_same(other: Any):
    assert same(STATEMENT, other)


@pytest.mark.parametrize(
    "other",
    [
        {**STATEMENT, "Effect": "Deny"},
        {**STATEMENT, "Action": ["s3:GetObject"]},
        {**STATEMENT, "Action": "s3:*"},
        {**STATEMENT, "Principal": "*"},
        {**STATEMENT, "Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        {**STATEMENT, "Sid": "named"},
        [STATEMENT, STATEMENT, {"Effect": "Deny"}],
        [],
    ],
)
def test_another_meaning_is_not(other: Any):
    assert not same(STATEMENT, other)


def test_everyone_is_everyone():
    assert same({"Principal": "*"}, {"Principal": {"AWS": "*"}})


def test_what_is_no_policy_is_compared_as_json():
    assert canonical_document('{"a": 1, "b": [2, 1]}') == canonical_document('{"b":[2,1],"a":1}')
    assert canonical_document('{"b": [2, 1]}') != canonical_document('{"b": [1, 2]}')


def test_what_is_no_json_is_an_error():
    with pytest.raises(ValueError):
        canonical_document("{")
