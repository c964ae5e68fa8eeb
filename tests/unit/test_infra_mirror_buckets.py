"""OSS buckets on a recording engine: what a stack makes where a spec mirrors there, and where it makes nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest
from built_models import write_model
from recording_engine import DEPRECATED, deploying

from infra import mirror_buckets

pytestmark = [pytest.mark.filterwarnings(each) for each in (*DEPRECATED, "ignore:alicloud:DeprecationWarning")]

ROOT = Path(__file__).parents[2]
HANGZHOU = "oss://models-of-acme/slipway?region=cn-hangzhou"


@pytest.fixture
def project(tmp_path):
    return tmp_path


@pytest.fixture
def deploy(project, monkeypatch):
    yield from deploying(project, monkeypatch)


def of_alicloud(made):
    return sorted(one.kind for one in made.made if one.request.type.startswith("alicloud:"))


def test_a_mirror_on_oss_is_a_private_encrypted_versioned_bucket_that_speaks_tls_alone(project, deploy):
    write_model(project, "news", deploy={"mirrors": [HANGZHOU]})
    made, _ = deploy(stack="dev", noncurrent_days="14")
    expected = """Bucket BucketAcl BucketPublicAccessBlock BucketServerSideEncryption BucketVersioning
        BucketHttpsConfig BucketPolicy"""
    assert of_alicloud(made) == sorted(expected.split())
    (bucket,) = [one for one in made.of("Bucket") if one.request.type.startswith("alicloud:")]
    assert bucket.inputs["bucket"] == "models-of-acme"
    assert not bucket.inputs.get("forceDestroy")
    (rule,) = bucket.inputs["lifecycleRules"]
    assert rule["enabled"] and rule["prefix"] == ""
    assert rule["abortMultipartUploads"] == [{"days": 7}]
    assert rule["noncurrentVersionExpirations"] == [{"days": 14}]
    guards = [one for one in made.made if one.request.type.startswith("alicloud:oss/bucket") and one is not bucket]
    assert {one.inputs["bucket"] for one in guards} == {"models-of-acme"}
    assert made.one("BucketAcl").inputs["acl"] == "private"
    blocks = [one for one in made.of("BucketPublicAccessBlock") if one.request.type.startswith("alicloud:")]
    assert [one.inputs["blockPublicAccess"] for one in blocks] == [True]
    assert made.one("BucketServerSideEncryption").inputs["sseAlgorithm"] == "AES256"
    versioning = [one for one in made.of("BucketVersioning") if one.request.type.startswith("alicloud:")]
    assert [one.inputs["status"] for one in versioning] == ["Enabled"]
    tls = made.one("BucketHttpsConfig").inputs
    assert (tls["enable"], tls["tlsVersions"]) == (True, ["TLSv1.2", "TLSv1.3"])
    (policy,) = [one for one in made.of("BucketPolicy") if one.request.type.startswith("alicloud:")]
    assert json.loads(policy.inputs["policy"]) == mirror_buckets.tls_only("models-of-acme")
    assert any("bucketPublicAccessBlock" in urn and "alicloud" in urn for urn in policy.request.dependencies)


def test_without_tls_nobody_may_do_anything():
    (statement,) = mirror_buckets.tls_only("b")["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", ["*"], ["oss:*"])
    assert statement["Resource"] == ["acs:oss:*:*:b", "acs:oss:*:*:b/*"]
    assert statement["Condition"] == {"Bool": {"acs:SecureTransport": ["false"]}}


def test_each_region_has_its_provider_and_a_bucket_of_several_models_is_made_once(project, deploy):
    other = "oss://more-models?region=eu-central-1"
    write_model(project, "news", deploy={"mirrors": [HANGZHOU, other]})
    write_model(project, "fashion", deploy={"mirrors": [HANGZHOU, "s3://models", "file:///mnt/kept"]})
    made, _ = deploy(stack="dev")
    providers = [one for one in made.made if one.request.type == "pulumi:providers:alicloud"]
    assert sorted(one.inputs["region"] for one in providers) == ["cn-hangzhou", "eu-central-1"]
    buckets = [one for one in made.of("Bucket") if one.request.type.startswith("alicloud:")]
    named = {one.inputs["bucket"]: one.request.provider for one in buckets}
    assert sorted(named) == ["models-of-acme", "more-models"]
    assert "alicloud-cn-hangzhou" in named["models-of-acme"]
    assert "alicloud-eu-central-1" in named["more-models"]


def test_a_bucket_outlives_its_stack_and_production_holds_on_to_it(project, deploy):
    write_model(project, "news", deploy={"mirrors": [HANGZHOU], "instances": {"min": 2, "max": 2}})
    made, _ = deploy(stack="prod")
    ours = [one for one in made.made if one.request.type.startswith("alicloud:")]
    assert all(one.request.retainOnDelete for one in ours)
    (bucket,) = [one for one in ours if one.kind == "Bucket"]
    assert bucket.request.protect


@pytest.mark.parametrize(("stack", "config"), [("local", {}), ("pr-7", {}), ("dev", {"oss_buckets": "existing"})])
def test_nothing_is_made_here_for_a_pull_request_or_where_it_exists(project, deploy, stack, config):
    write_model(project, "news", deploy={"mirrors": [HANGZHOU]})
    made, _ = deploy(stack=stack, **config)
    assert of_alicloud(made) == []
    assert [one for one in made.made if "alicloud" in one.request.type] == []


def test_a_bucket_in_two_regions_is_refused_before_anything_is_made(project, deploy):
    write_model(project, "news", deploy={"mirrors": [HANGZHOU]})
    write_model(project, "fashion", deploy={"mirrors": ["oss://models-of-acme?region=cn-beijing"]})
    with pytest.raises(pulumi.RunError, match="'models-of-acme' in cn-beijing and cn-hangzhou"):
        deploy(stack="dev")


def test_without_the_library_it_is_said_how_to_get_it(project, deploy, monkeypatch):
    write_model(project, "news", deploy={"mirrors": [HANGZHOU]})
    monkeypatch.setattr(mirror_buckets, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(pulumi.RunError, match="run: make alicloud"):
        deploy(stack="dev")


def test_the_program_imports_the_library_for_such_a_mirror_alone():
    done = subprocess.run(
        [sys.executable, "-c", "import infra.program, sys; sys.exit('pulumi_alicloud' in sys.modules)"], cwd=ROOT
    )
    assert done.returncode == 0
