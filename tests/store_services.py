"""Stores of every kind on this machine, for the tests that hold all of them to the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import oss_server
import pytest

from stores import oss, s3

BUCKET = "models"
SMALLEST_PART = {"s3": 5 * 1024 * 1024, "oss": oss_server.LEAST_PART}
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def s3_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """S3 by moto, in this process, with the bucket."""
    import boto3
    from moto import mock_aws

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(s3, "_clients", {})
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield


@contextmanager
def oss_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[oss_server.OssServer]:
    """OSS by `oss_server`, with the bucket; this process is its client."""
    monkeypatch.setattr(oss, "_clients", {})
    with oss_server.running(BUCKET) as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
            monkeypatch.delenv(name.upper() if name.islower() else "ALL_PROXY", raising=False)
        yield server


@contextmanager
def url_of(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty store of that kind, as long as it is there."""
    if kind == "file":
        yield (folder / "kept").as_uri()
    elif kind == "s3":
        with s3_here(monkeypatch):
            yield f"s3://{BUCKET}/some/prefix"
    else:
        with oss_here(monkeypatch):
            yield f"oss://{BUCKET}/some/prefix?region={oss_server.REGION}"


def calls(monkeypatch: pytest.MonkeyPatch, store: Any, method: str) -> list[tuple[Any, ...]]:
    """The arguments of every later call of a store's method."""
    made: list[tuple[Any, ...]] = []
    plain = getattr(type(store), method)

    def told(self: Any, *arguments: Any) -> Any:
        made.append(arguments)
        return plain(self, *arguments)

    monkeypatch.setattr(type(store), method, told)
    return made
