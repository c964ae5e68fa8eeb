"""Every resource type of the local provider through the real engine: its life, its drift, its failures."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from localcloud_rig import fake_model
from processes import wait_for
from provider_project import ENDPOINT, EVERYTHING, REGION, Project, project

from toolchain.engine import Engine

pytestmark = pytest.mark.contract

# The types that every model needs; those of production have a program of their own (test_provider_production.py).
COMMON = {
    *("Bucket", "BucketLifecycleConfiguration", "BucketObjectv2", "BucketOwnershipControls", "BucketPolicy"),
    *("BucketPublicAccessBlock", "BucketServerSideEncryptionConfiguration", "BucketVersioning"),
    *("Endpoint", "EndpointConfiguration", "Model", "Policy", "Role", "RolePolicy", "Target"),
}
SCALABLE = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"endpoint/{ENDPOINT}/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine):
    """One project and one local AWS for all tests of this file; each test begins and ends with an empty stack."""
    with project(tmp_path_factory.mktemp("provider") / "a project", engine) as one:
        yield one


@pytest.fixture
def stack(made: Project):
    yield made
    made.write()
    made.do("destroy")
    assert left_behind(made) == []


@pytest.fixture
def deployed(stack: Project) -> Project:
    stack.write()
    stack.do("up")
    return stack


def each(operation: str, *names: str) -> dict[str, list[str]]:
    return {name: [operation] for name in names}


def left_behind(made: Project) -> list[Any]:
    s3, iam = made.cloud.client("s3"), made.cloud.client("iam")
    sagemaker, scaling = made.cloud.sagemaker, made.cloud.client("application-autoscaling")
    return [
        *s3.list_buckets()["Buckets"],
        *iam.list_roles()["Roles"],
        *sagemaker.list_models()["Models"],
        *sagemaker.list_endpoint_configs()["EndpointConfigs"],
        *sagemaker.list_endpoints()["Endpoints"],
        *scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
        *scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"],
    ]


def test_every_resource_type_lives_from_preview_to_destroy(stack: Project):
    stack.write()
    said = stack.require("preview")
    assert f"+ {len(COMMON) + 2} to create" in said
    assert left_behind(stack) == []

    assert set(map(tuple, stack.do("up").values())) == {("create",)}
    state = stack.state()
    assert {one["type"].rpartition(":")[2] for one in state.values()} == COMMON
    outputs = stack.outputs()
    assert (outputs["region"], outputs["partition"], outputs["account"]) == (REGION, "aws", "123456789012")
    assert outputs["bucket"].startswith("artifacts-")
    assert stack.cloud.invoke(ENDPOINT)["answer"] == "good"

    assert stack.do("up") == {}
    assert stack.unchanged()

    # In place.
    stack.write(bucket_tags={"team": "ops", "new": "1"}, days=10, description="", max=5, sid="Tls", target=300)
    changed = stack.do("up")
    assert changed == each("update", "Artifacts", "lifecycle", "policy", "role", "scaling", "target")
    s3, scaling = stack.cloud.client("s3"), stack.cloud.client("application-autoscaling")
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=outputs["bucket"])["TagSet"]}
    assert tags == {"team": "ops", "new": "1", "stack": "local"}
    assert json.loads(s3.get_bucket_policy(Bucket=outputs["bucket"])["Policy"])["Statement"][0]["Sid"] == "Tls"
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert target["MaxCapacity"] == 5
    assert stack.unchanged()

    # Replaced, and the endpoint moved.
    before = stack.cloud.describe(ENDPOINT)
    stack.write(environment={"MODE": "b"}, max=5)
    changed = stack.do("up")
    replaced = ["create-replacement", "replace", "delete-replaced"]
    assert changed["model"] == changed["configuration"] == replaced
    assert changed["endpoint"] == ["update"]
    after = stack.cloud.describe(ENDPOINT)
    assert after["CreationTime"] == before["CreationTime"]
    assert after["EndpointConfigName"] != before["EndpointConfigName"]
    assert stack.cloud.invoke(ENDPOINT)["environment"]["MODE"] == "b"
    assert len(stack.cloud.sagemaker.list_models()["Models"]) == 1
    assert stack.unchanged()

    # The provider's default tags reach everything that has tags, and nothing is replaced for it.
    stack.write(environment={"MODE": "b"}, max=5, default_tags={"stack": "renamed"})
    changed = stack.do("up")
    assert changed == each("update", "Artifacts", "artifact", "configuration", "endpoint", "model", "role", "target")
    assert {one["outputs"].get("tagsAll", {}).get("stack") for one in stack.state().values()} == {None, "renamed"}
    assert stack.unchanged()


def test_what_was_edited_behind_pulumis_back_is_seen_and_repaired(deployed: Project):
    bucket = deployed.outputs()["bucket"]
    state = deployed.state()
    role = state["role"]["id"]
    s3, iam = deployed.cloud.client("s3"), deployed.cloud.client("iam")
    scaling = deployed.cloud.client("application-autoscaling")
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "edited"}]})
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": []}))
    s3.delete_bucket_lifecycle(Bucket=bucket)
    iam.update_role(RoleName=role, Description="edited")
    iam.put_role_policy(
        RoleName=role,
        PolicyName=state["access"]["inputs"]["name"],
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        ),
    )
    scaling.register_scalable_target(**SCALABLE, MaxCapacity=9)
    scaling.delete_scaling_policy(**SCALABLE, PolicyName=state["scaling"]["id"])

    code, _ = deployed.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert code != 0
    repaired = deployed.do("up")
    assert repaired == {
        **each("create", "block", "lifecycle", "scaling"),
        **each("update", "Artifacts", "access", "policy", "role", "target", "versions"),
    }
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicAcls"]
    assert iam.get_role(RoleName=role)["Role"]["Description"] == "runs iris"
    assert deployed.unchanged()


def test_an_endpoint_that_was_deleted_behind_pulumis_back_comes_again(deployed: Project):
    deployed.cloud.sagemaker.delete_endpoint(EndpointName=ENDPOINT)
    wait_for(lambda: not deployed.cloud.sagemaker.list_endpoints()["Endpoints"], "the endpoint's end")
    deployed.do("refresh")
    assert "endpoint" not in deployed.state()
    assert deployed.do("up")["endpoint"] == ["create"]
    assert deployed.cloud.invoke(ENDPOINT)["answer"] == "good"
    assert deployed.unchanged()


def test_a_first_deployment_that_fails_says_why_and_the_next_one_recovers(stack: Project):
    (stack.root / "broken.tar.gz").write_bytes(fake_model(crash="the weights are of the wrong shape"))
    stack.write(artifact="broken.tar.gz")
    code, said = stack.run("up", "--yes", "--skip-preview")
    assert code != 0
    assert f"endpoint {ENDPOINT} is Failed:" in said
    assert "the weights are of the wrong shape" in said
    assert "Traceback" not in said
    assert stack.cloud.describe(ENDPOINT)["EndpointStatus"] == "Failed"
    # The failure is recorded, and a refresh tells it again.
    assert "the weights are of the wrong shape" in str(stack.state()["endpoint"]["initErrors"])
    _, said = stack.run("refresh", "--yes", "--skip-preview")
    assert "the weights are of the wrong shape" in said

    # Nothing else changed: the same artifact fails again, rather than being called unchanged.
    code, said = stack.run("up", "--yes", "--skip-preview")
    assert code != 0
    assert "the weights are of the wrong shape" in said

    stack.write()
    stack.do("up")
    assert stack.cloud.invoke(ENDPOINT)["answer"] == "good"
    assert "initErrors" not in stack.state()["endpoint"]
    assert stack.unchanged()


def test_an_update_that_is_rolled_back_is_a_success_that_a_program_must_see_through(deployed: Project):
    # As upstream (hashicorp/terraform-provider-aws#46663); this program has a guard, as ours has.
    before = deployed.cloud.describe(ENDPOINT)["EndpointConfigName"]
    (deployed.root / "broken.tar.gz").write_bytes(fake_model(crash="no such operator"))
    deployed.write(artifact="broken.tar.gz")
    for _ in range(2):
        code, said = deployed.run("up", "--yes", "--skip-preview")
        assert code != 0
        assert "warning: endpoint iris-local: SageMaker rolled the update back" in said
        assert "no such operator" in said
        assert f"it still runs {before}, not configuration-" in said
        assert "updating SageMaker Endpoint" not in said
    assert deployed.cloud.describe(ENDPOINT)["EndpointConfigName"] == before
    assert deployed.state()["endpoint"]["outputs"]["endpointConfigName"] == before
    assert deployed.cloud.invoke(ENDPOINT)["answer"] == "good"

    (deployed.root / "better.tar.gz").write_bytes(fake_model(answer="better"))
    deployed.write(artifact="better.tar.gz")
    deployed.do("up")
    assert deployed.cloud.invoke(ENDPOINT)["answer"] == "better"
    assert len(deployed.cloud.sagemaker.list_models()["Models"]) == 1
    assert deployed.unchanged()


def test_an_interrupted_wait_ends_at_once_and_the_endpoint_is_not_forgotten(stack: Project):
    (stack.root / "hanging.tar.gz").write_bytes(fake_model(hang=True))
    stack.write(
        EVERYTHING.replace(
            '"initial_instance_count": 1,',
            '"initial_instance_count": 1, "container_startup_health_check_timeout_in_seconds": 60,',
        ),
        artifact="hanging.tar.gz",
    )
    up = stack.start("up", "--yes", "--skip-preview")
    try:
        wait_for(lambda: stack.cloud.sagemaker.list_endpoints()["Endpoints"], "the endpoint's creation")
        up.send_signal(signal.SIGINT)
        said, _ = up.communicate(timeout=45)
    finally:
        up.kill()
        up.wait()
    assert up.returncode != 0
    assert f"of waiting for endpoint {ENDPOINT}; run `pulumi up` to go on" in said
    assert stack.state()["endpoint"]["id"] == ENDPOINT

    # The next run goes on from there, whatever has become of it.
    (replica,) = stack.cloud.replicas(ENDPOINT)
    os.kill(replica["pid"], signal.SIGKILL)
    stack.write()
    assert stack.do("up")["endpoint"] == ["update"]
    assert stack.cloud.invoke(ENDPOINT)["answer"] == "good"


def test_a_run_that_was_killed_leaves_no_endpoint_in_the_way_of_the_next(stack: Project):
    (stack.root / "hanging.tar.gz").write_bytes(fake_model(hang=True))
    stack.write(artifact="hanging.tar.gz")
    up = stack.start("up", "--yes", "--skip-preview")
    try:
        wait_for(lambda: stack.cloud.sagemaker.list_endpoints()["Endpoints"], "the endpoint's creation")
    finally:
        up.kill()
        up.communicate()
    stack.require("cancel", "--yes")
    assert "endpoint" not in stack.state()
    (replica,) = wait_for(lambda: stack.cloud.replicas(ENDPOINT), "the replica's start")
    os.kill(replica["pid"], signal.SIGKILL)
    stack.write()
    assert stack.do("up")["endpoint"] == ["create"]
    assert stack.cloud.invoke(ENDPOINT)["answer"] == "good"
    assert stack.unchanged()


WRONG = {
    "a type that is not served": (
        'aws.s3.BucketWebsiteConfiguration("site", bucket="b", opts=options())',
        [
            "aws:s3/bucketWebsiteConfiguration:BucketWebsiteConfiguration: this resource type is not implemented",
            "aws:s3/bucket:Bucket",
        ],
    ),
    "a property that is not served": (
        'aws.s3.Bucket("b", request_payer="Requester", opts=options())',
        ["requestPayer: is not implemented by the local provider (S3 Bucket); supported: bucket, bucketPrefix"],
    ),
    "a property that does not exist": (
        'pulumi.CustomResource("aws:s3/bucket:Bucket", "b", {"colour": "blue"}, options())',
        ["colour: is not a property of it (S3 Bucket); supported: bucket, bucketPrefix"],
    ),
    "a nested property that is not served": (
        'aws.sagemaker.EndpointConfiguration("c", production_variants=[{"model_name": "m", '
        '"managed_instance_scaling": {"status": "ENABLED"}}], opts=options())',
        ["productionVariants[0].managedInstanceScaling: is not implemented by the local provider"],
    ),
    "a function that is not served": (
        "aws.get_availability_zones(opts=pulumi.InvokeOptions(provider=provider))",
        ["aws:index/getAvailabilityZones:getAvailabilityZones: this function is not implemented"],
    ),
}


@pytest.mark.parametrize(("program", "messages"), WRONG.values(), ids=WRONG)
def test_what_is_not_served_is_refused_in_the_preview(stack: Project, program: str, messages: list[str]):
    stack.write(program)
    code, said = stack.run("preview")
    assert code != 0
    for message in messages:
        assert message in said


@pytest.mark.parametrize("url", ["https://s3.eu-central-1.amazonaws.com", "http://10.1.2.3:4566"])
def test_an_address_elsewhere_is_refused_before_anything_is_sent(stack: Project, url: str):
    stack.write(url=url)
    code, said = stack.run("up", "--yes", "--skip-preview")
    assert code != 0
    assert f"endpoints.s3: '{url}' is not on this machine" in said


def test_an_address_where_nobody_listens_is_told(stack: Project):
    stack.write(url="http://127.0.0.1:9")
    code, said = stack.run("up", "--yes", "--skip-preview")
    assert code != 0
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9' in said
    assert "Traceback" not in said.partition("getCallerIdentity")[0]


def test_what_exists_is_imported_without_a_change(stack: Project):
    stack.write()
    stack.do("up")
    state = stack.state()
    bucket = state["Artifacts"]["id"]
    scalable = "/".join(["sagemaker", SCALABLE["ResourceId"], SCALABLE["ScalableDimension"]])
    ids = {
        "Artifacts": bucket,
        "artifact": f"s3://{state['artifact']['id']}",
        "target": scalable,
        "scaling": f"{scalable}/{state['scaling']['id']}",
        **{
            name: state[name]["id"]
            for name in (
                "access",
                "block",
                "configuration",
                "encryption",
                "endpoint",
                "lifecycle",
                "model",
                "owner",
                "policy",
                "role",
                "versions",
            )
        },
    }
    wanted = {
        "resources": [
            {"type": state[name]["type"], "name": name, "id": ids[name], "provider": "aws", "version": "0.0.1"}
            for name in ids
        ],
        "nameTable": {"aws": "urn:pulumi:local::fidelity::pulumi:providers:aws::aws"},
    }
    exported = json.loads(stack.require("stack", "export"))
    deployment = exported["deployment"]
    deployment["resources"] = [one for one in deployment["resources"] if one["type"].startswith("pulumi:")]
    (stack.root / "forgotten.json").write_text(json.dumps(exported))
    stack.require("stack", "import", "--file", "forgotten.json")
    assert stack.state() == {}
    (stack.root / "import.json").write_text(json.dumps(wanted))
    stack.require(
        "import", "--file", "import.json", "--yes", "--skip-preview", "--generate-code=false", "--protect=false"
    )
    assert {name: one["id"] for name, one in stack.state().items()} == {name: one["id"] for name, one in state.items()}
    # Only what AWS cannot tell is new to the state.
    assert stack.do("up") == each("update", "Artifacts", "artifact")
    assert stack.unchanged()
