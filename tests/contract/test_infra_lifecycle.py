"""One model's life on the real engine and the local AWS: up, nothing to do, renewed, rescaled, broken, taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from built_models import write_model
from infra_project import Project, expected, project

from toolchain.engine import Engine

pytestmark = pytest.mark.contract


@pytest.fixture
def written(tmp_path: Path, engine: Engine) -> Iterator[Project]:
    """A project with one model, `news`, built and not deployed."""
    with project(tmp_path / "a project", engine) as made:
        made.write_model("news", deploy={"instances": {"min": 1, "max": 1}})
        yield made


@pytest.fixture
def deployed(written: Project) -> Project:
    written.up()
    return written


def endpoint_configuration(made: Project, name: str = "news-local") -> str:
    return str(made.cloud.describe(name)["EndpointConfigName"])


def test_a_model_lives_from_its_first_deployment_to_its_removal(deployed: Project):
    outputs = deployed.outputs()
    assert outputs["endpoints"] == {"news": "news-local"}
    assert set(outputs) == {"bucket", "cost", "endpoints", "models", "region"}
    assert deployed.predict("news-local") == pytest.approx(expected())
    assert deployed.unchanged()

    # A local AWS that was killed comes back as it was: there is nothing to do.
    deployed.cloud.restart()
    deployed.cloud.settled("news-local")
    assert deployed.unchanged()
    assert deployed.predict("news-local") == pytest.approx(expected())

    # A new artifact moves the endpoint, which keeps its name and its age; the old model and configuration are gone.
    before, created = endpoint_configuration(deployed), deployed.cloud.describe("news-local")["CreationTime"]
    renewed = deployed.write_model("news", scale=3, deploy={"instances": {"min": 1, "max": 1}})
    deployed.up()
    assert deployed.predict("news-local") == pytest.approx(expected(3))
    assert deployed.cloud.describe("news-local")["CreationTime"] == created
    assert endpoint_configuration(deployed) != before
    sagemaker, s3 = deployed.cloud.sagemaker, deployed.cloud.client("s3")
    assert [item["EndpointConfigName"] for item in sagemaker.list_endpoint_configs()["EndpointConfigs"]] == [
        endpoint_configuration(deployed)
    ]
    assert len(sagemaker.list_models()["Models"]) == 1
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=outputs["bucket"])["Contents"]]
    assert keys == [f"news/{renewed.artifact.sha256}.tar.gz"]
    assert deployed.outputs()["models"]["news"]["digest"] == renewed.artifact.sha256
    assert deployed.unchanged()

    # A range of instances brings autoscaling and leaves the endpoint as it is.
    moved = endpoint_configuration(deployed)
    deployed.write_model("news", scale=3, deploy={"instances": {"min": 1, "max": 3}})
    deployed.up()
    scaling = deployed.cloud.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
    deployed.write_model("news", scale=3, deploy={"instances": {"min": 1, "max": 2}})
    deployed.up()
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert target["MaxCapacity"] == 2
    assert endpoint_configuration(deployed) == moved
    assert deployed.unchanged()

    # A second model comes beside it, and goes when its spec and its build are removed.
    deployed.write_model("fashion", scale=2)
    deployed.up()
    assert deployed.predict("fashion-local") == pytest.approx(expected(2))
    (deployed.root / "specs/fashion.yaml").unlink()
    code, said = deployed.run("up", "--yes", "--skip-preview", "--stack", "local")
    assert code != 0
    assert "its spec specs/fashion.yaml is gone" in said
    assert "rm -r build/fashion" in said
    assert deployed.predict("fashion-local") == pytest.approx(expected(2))
    for path in (deployed.root / "build/fashion").iterdir():
        path.unlink()
    (deployed.root / "build/fashion").rmdir()
    deployed.up()
    assert [item["EndpointName"] for item in sagemaker.list_endpoints()["Endpoints"]] == ["news-local"]
    assert deployed.predict("news-local") == pytest.approx(expected(3))

    deployed.require("destroy", "--yes", "--skip-preview", "--stack", "local")
    assert deployed.resources() == []
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert s3.list_buckets()["Buckets"] == []
    assert deployed.cloud.client("iam").list_roles()["Roles"] == []
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_an_artifact_that_does_not_start_leaves_the_running_model_and_everything_it_stands_on(deployed: Project):
    before = endpoint_configuration(deployed)
    good = deployed.outputs()["models"]["news"]["digest"]
    write_model(deployed.root, "news", artifact=b"not an archive")
    code, said = deployed.run("up", "--yes", "--skip-preview", "--stack", "local")
    assert code != 0
    assert "news-local" in said
    assert endpoint_configuration(deployed) == before
    assert deployed.predict("news-local") == pytest.approx(expected())
    bucket = deployed.outputs()["bucket"]
    s3, iam = deployed.cloud.client("s3"), deployed.cloud.client("iam")
    s3.head_object(Bucket=bucket, Key=f"news/{good}.tar.gz")
    (role,) = iam.list_roles()["Roles"]
    policies = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
    documents = [
        str(iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]) for name in policies
    ]
    assert any(f"news/{good}.tar.gz" in document for document in documents)

    # Mended, the next deployment goes through and clears up what the failed one left.
    deployed.write_model("news", scale=5, deploy={"instances": {"min": 1, "max": 1}})
    deployed.up()
    assert deployed.predict("news-local") == pytest.approx(expected(5))
    assert len(deployed.cloud.sagemaker.list_models()["Models"]) == 1
    assert len(iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]) == 1


def test_a_stale_manifest_stops_the_engine_before_any_resource(written: Project):
    (written.root / "specs/news.yaml").write_text("name: news\nchanged: true\n")
    code, said = written.run("up", "--yes", "--skip-preview", "--stack", "local")
    assert code != 0
    assert "specs/news.yaml: changed since news was built; run: slipway build news" in said
    assert "Traceback" not in said
    assert written.resources() == []


def test_the_local_stack_without_a_local_aws_says_how_to_start_it(written: Project):
    del written.environment["AWS_ENDPOINT_URL"]
    code, said = written.run("preview", "--stack", "local")
    assert code != 0
    assert "`make up`" in said
    assert 'eval "$(.venv/bin/slipway env)"' in said
    assert "Traceback" not in said
