"""Which statements of a bucket's policy let S3 write access logs."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.moto_gaps import lets_logs_in

PREFIX = "arn:aws:s3:::logs/s3/"
ALLOWED: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": {"Service": "logging.s3.amazonaws.com"},
    "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::logs/s3/*",
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Resource": ["arn:aws:s3:::logs/*"]},
        {"Action": ["s3:PutObject", "s3:GetObject"]},
        {"Action": "s3:*"},
        {"Principal": {"Service": ["a.amazonaws.com", "logging.s3.amazonaws.com"]}},
    ],
)
def test_a_statement_that_lets_the_logging_service_write_there_does(changes: dict[str, Any]):
    assert lets_logs_in(ALLOWED | changes, PREFIX)


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": "Deny"},
        {"Principal": "*"},
        {"Principal": {"Service": "sns.amazonaws.com"}},
        {"Principal": {"AWS": "logging.s3.amazonaws.com"}},
        {"Action": "s3:GetObject"},
        {"Resource": "arn:aws:s3:::logs/other/*"},
        {"Resource": "arn:aws:s3:::logs"},
    ],
)
def test_any_other_statement_does_not(changes: dict[str, Any]):
    assert not lets_logs_in(ALLOWED | changes, PREFIX)
