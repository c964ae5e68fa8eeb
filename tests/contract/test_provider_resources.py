"""What single resource types do on a local AWS beyond what the engine's tests walk through; no engine here."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from localcloud_rig import TRUST, fake_model, running
from localcloud_rig import Cloud as Rig

from localcloud.provider import lifecycle
from localcloud.provider.checking import check
from localcloud.provider.cloud import Cloud
from localcloud.provider.configuration import SERVICES, Configuration
from localcloud.provider.errors import ProviderError
from localcloud.provider.resources import RESOURCES
from localcloud.provider.values import ASSET, SIGNATURE

pytestmark = pytest.mark.contract

BUCKET = "aws:s3/bucket:Bucket"
OBJECT = "aws:s3/bucketObjectv2:BucketObjectv2"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("cloud")) as one:
        yield one


@pytest.fixture
def cloud(rig: Rig) -> Cloud:
    endpoints = dict.fromkeys(SERVICES, rig.server.endpoint)
    return Cloud(Configuration("us-east-1", endpoints, default_tags={"stack": "local"}))


def checked(token: str, name: str, /, **inputs: Any) -> dict[str, Any]:
    complete, failures = check(RESOURCES[token], name, {}, inputs, name.encode(), "us-east-1")
    assert failures == []
    return complete


def create(cloud: Cloud, token: str, name: str, /, **inputs: Any) -> tuple[str, dict[str, Any]]:
    return lifecycle.create(cloud, RESOURCES[token], checked(token, name, **inputs))


def update(cloud: Cloud, token: str, identifier: str, old: dict[str, Any], /, **inputs: Any) -> dict[str, Any]:
    return lifecycle.update(cloud, RESOURCES[token], identifier, old, checked(token, "unused", **inputs))


def delete(cloud: Cloud, token: str, identifier: str, old: dict[str, Any]) -> None:
    lifecycle.delete(cloud, RESOURCES[token], identifier, old)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"content": "grüße"}, "grüße".encode()),
        ({"contentBase64": base64.b64encode(b"\x00\xff").decode()}, b"\x00\xff"),
        ({"source": {SIGNATURE: ASSET, "hash": "1", "text": "from a text"}}, b"from a text"),
        ({}, b""),
    ],
)
def test_an_object_has_the_content_that_was_given(cloud: Cloud, content: dict[str, Any], expected: bytes):
    bucket, old = create(cloud, BUCKET, "contents", forceDestroy=True)
    identifier, state = create(cloud, OBJECT, "a key", bucket=bucket, metadata={"a": "b"}, **content)
    stored = cloud.s3.get_object(Bucket=bucket, Key="a key")
    assert stored["Body"].read() == expected
    assert stored["Metadata"] == {"a": "b"}
    assert state["arn"] == f"arn:aws:s3:::{bucket}/a key"
    delete(cloud, OBJECT, identifier, state)
    delete(cloud, OBJECT, identifier, state)
    assert lifecycle.read(cloud, RESOURCES[OBJECT], identifier, state, {}) is None
    delete(cloud, BUCKET, bucket, old)


def test_other_tags_upload_nothing_and_other_content_makes_a_new_version(cloud: Cloud):
    bucket, old = create(cloud, BUCKET, "versions", forceDestroy=True)
    create(cloud, VERSIONING, "v", bucket=bucket, versioningConfiguration={"status": "Enabled"})
    given = {"bucket": bucket, "key": "k", "content": "1"}
    identifier, first = create(cloud, OBJECT, "o", **given)
    tagged = update(cloud, OBJECT, identifier, first, **given, tags={"a": "b"})
    assert tagged["versionId"] == first["versionId"]
    assert tagged["tagsAll"] == {"a": "b", "stack": "local"}
    renewed = update(cloud, OBJECT, identifier, tagged, **{**given, "content": "2"})
    assert renewed["versionId"] != first["versionId"]
    assert renewed["tagsAll"] == {"stack": "local"}
    # Deleting the object takes its versions with it; so does the bucket's force.
    delete(cloud, OBJECT, identifier, renewed)
    assert "Versions" not in cloud.s3.list_object_versions(Bucket=bucket)
    create(cloud, OBJECT, "o", **given)
    delete(cloud, BUCKET, bucket, old)
    assert lifecycle.read(cloud, RESOURCES[BUCKET], bucket, old, {}) is None


def test_a_bucket_that_is_not_empty_is_not_destroyed_without_force(cloud: Cloud):
    bucket, old = create(cloud, BUCKET, "full")
    cloud.s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    with pytest.raises(ProviderError, match=rf"^deleting S3 Bucket \({bucket}\): BucketNotEmpty: "):
        delete(cloud, BUCKET, bucket, old)
    delete(cloud, BUCKET, bucket, {**old, "forceDestroy": True})


def test_a_prefix_gives_a_name_of_its_own(cloud: Cloud):
    trust = json.dumps(TRUST)
    first, state = create(cloud, ROLE, "r", namePrefix="exec-", assumeRolePolicy=trust)
    second, _ = create(cloud, ROLE, "r", namePrefix="exec-", assumeRolePolicy=trust)
    assert first != second
    assert first.startswith("exec-")
    assert state["name"] == first
    bucket, old = create(cloud, BUCKET, "b", bucketPrefix="data-")
    assert bucket.startswith("data-")
    for name in (first, second):
        delete(cloud, ROLE, name, state)
    delete(cloud, BUCKET, bucket, old)


def test_a_role_with_policies_goes_only_where_they_may_be_detached(cloud: Cloud):
    trust, boundary = json.dumps(TRUST), "arn:aws:iam::aws:policy/PowerUserAccess"
    role, state = create(cloud, ROLE, "r", assumeRolePolicy=trust, permissionsBoundary=boundary)
    assert state["permissionsBoundary"] == boundary
    state = update(cloud, ROLE, role, state, assumeRolePolicy=trust, name=role, tags={"a": "b"})
    assert "permissionsBoundary" not in state
    assert state["tagsAll"] == {"a": "b", "stack": "local"}
    policy, _ = create(cloud, ROLE_POLICY, "p", role=role, policy=POLICY)
    with pytest.raises(ProviderError, match="DeleteConflict"):
        delete(cloud, ROLE, role, state)
    delete(cloud, ROLE, role, {**state, "forceDetachPolicies": True})
    assert lifecycle.read(cloud, RESOURCES[ROLE_POLICY], policy, {}, {}) is None


def test_an_endpoint_of_somebody_else_is_not_taken_over(cloud: Cloud, rig: Rig):
    rig.endpoint("taken", fake_model(answer="theirs"))
    with pytest.raises(ProviderError, match="already existing endpoint"):
        create(cloud, ENDPOINT, "mine", name="taken", endpointConfigName="taken")
    assert rig.invoke("taken")["answer"] == "theirs"


def test_a_missing_file_is_named(cloud: Cloud, tmp_path: Path):
    bucket, old = create(cloud, BUCKET, "files")
    source = {SIGNATURE: ASSET, "hash": "1", "path": str(tmp_path / "gone.tar.gz")}
    with pytest.raises(ProviderError, match=r"source: .*gone\.tar\.gz: no such file"):
        create(cloud, OBJECT, "o", bucket=bucket, source=source)
    delete(cloud, BUCKET, bucket, old)
