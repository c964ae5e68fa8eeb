"""URLs of stores: what names one, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_build.deployment import Deploy
from stores.address import Address, parse
from stores.folder import FolderStore
from stores.opening import opened
from stores.oss import OssStore
from stores.s3 import S3Store


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("file:///mnt/a%20folder", Address("file", "/mnt/a folder")),
        ("s3://models", Address("s3", "models")),
        ("s3://models/a/b/", Address("s3", "models", "a/b")),
        ("s3://models/a?region=eu-west-1", Address("s3", "models", "a", "eu-west-1")),
        ("oss://models?region=cn-hangzhou", Address("oss", "models", "", "cn-hangzhou")),
    ],
)
def test_an_url_is_taken_apart(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nodes", "names no store; give s3://"),
        ("https://models.oss-cn-hangzhou.aliyuncs.com", "names no store"),
        ("file://host/folder", "names no folder"),
        ("file:///", "names no folder"),
        ("s3://", "is no bucket"),
        ("oss://Models", "is no bucket"),
        ("oss://user:password@models", "is no bucket"),
        ("s3://models/a/../b", "is no prefix"),
        ("s3://models//a//b", "is no prefix"),
        ("s3://models/a#b", "is no prefix"),
        ("oss://models/a?endpoint=elsewhere", "there is only region=REGION"),
        ("oss://models?region=", "there is only region=REGION"),
        ("oss://models?region=cn-hangzhou.evil.example", "there is only region=REGION"),
    ],
)
def test_another_one_is_refused_with_a_reason(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(url)


def test_each_scheme_has_its_store() -> None:
    assert opened("file:///mnt/kept") == FolderStore(Path("/mnt/kept"))
    assert opened("s3://models/a") == S3Store("models", "a")
    assert opened("oss://models/a?region=cn-hangzhou") == OssStore("models", "a", "cn-hangzhou")
    assert opened("oss://models/a?region=cn-hangzhou").url == "oss://models/a"


def test_mirrors_of_a_spec_are_checked_and_say_their_region() -> None:
    mirrors = ("oss://models?region=cn-hangzhou", "s3://models/a", "file:///mnt/kept")
    assert Deploy(mirrors=mirrors).mirrors == mirrors
    with pytest.raises(ValueError, match=r"say where the bucket is: oss://models\?region=cn-hangzhou"):
        Deploy(mirrors=("oss://models",))
    with pytest.raises(ValueError, match="names no store"):
        Deploy(mirrors=("ftp://models",))


def test_a_manifest_without_mirrors_is_as_it_was() -> None:
    assert "mirrors" not in Deploy().model_dump(mode="json")
