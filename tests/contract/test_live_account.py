"""A model's life on a real AWS account: `SLIPWAY_LIVE_ACCOUNT=123456789012 pytest -m live`. It costs money.

Off unless both are given. One endpoint of one or two small instances for about an hour, everything tagged, destroyed in
the end; `SLIPWAY_LIVE_ACCOUNT=local` rehearses the same story on the local AWS. docs/development.md says more.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from built_models import write_model
from infra_project import CHECKOUT, Project, expected, lay_out
from localcloud_rig import REAL, Cloud, running
from processes import wait_for

from toolchain.engine import Engine
from toolchain.environment import variables

pytestmark = [pytest.mark.live, pytest.mark.timeout(3 * 3600)]

ACCOUNT = os.environ.get("SLIPWAY_LIVE_ACCOUNT", "")
REGION = os.environ.get("SLIPWAY_LIVE_REGION", "us-east-1")
REHEARSED = ACCOUNT == "local"
DEPLOY: dict[str, Any] = {
    "instance": "ml.c5.large",
    "instances": {"min": 1, "max": 1},
    "rollout": {"type": "all-at-once", "interval": "1m", "alarms": {"min_requests": 100}},
}
RANGE = DEPLOY | {"instances": {"min": 1, "max": 2}}


class Account(Cloud):
    """The account's own clients, with the credentials of the environment."""

    def __init__(self) -> None:
        pass

    def client(self, service: str, region: str = REGION) -> Any:
        return boto3.client(service, region_name=region)  # type: ignore[call-overload]


@contextmanager
def account(root: Path) -> Iterator[tuple[Cloud, dict[str, str]]]:
    """The account, and what of the environment tells Pulumi of it."""
    if REHEARSED:
        arguments = (*REAL, "--speed", "60")
        with running(root / ".slipway/local", arguments) as cloud:
            yield cloud, {"AWS_ENDPOINT_URL": cloud.server.endpoint}
        return
    if os.environ.get("AWS_ENDPOINT_URL"):
        pytest.fail("AWS_ENDPOINT_URL is set: use a shell without `slipway env`")
    found = boto3.client("sts", region_name=REGION).get_caller_identity()["Account"]
    if found != ACCOUNT:
        pytest.fail(f"the credentials are those of account {found}, not of SLIPWAY_LIVE_ACCOUNT={ACCOUNT}")
    yield Account(), {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


@pytest.fixture
def live(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Project]:
    """A stack of its own. Its folder outlives a destroy that fails, since its state is the way to what is left."""
    if not ACCOUNT or "live" not in str(request.config.option.markexpr):
        pytest.skip("costs money: SLIPWAY_LIVE_ACCOUNT=<twelve digits> pytest -m live")
    stack = f"live-{secrets.token_hex(3)}"
    root = CHECKOUT / "build/live" / stack
    lay_out(root, "Pulumi.yaml")
    where = {"slipway:cloud": "local"} if REHEARSED else {"slipway:account": ACCOUNT}
    config = {
        "slipway:region": REGION,
        **where,
        "slipway:dashboards": "false",
        "slipway:tags": {"purpose": "live-test"},
    }
    settings = {"config": {"pulumi:disable-default-providers": ["aws"], **config}}
    (root / f"Pulumi.{stack}.yaml").write_text(json.dumps(settings))  # which is YAML
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
    with account(root) as (cloud, told):
        made = Project(root, engine.pulumi, kept | variables(root, engine) | told, cloud, stack)
        install_plugin(made)
        made.require("stack", "init", stack)
        print(f"stack {stack}, in {root}")
        try:
            yield made
        finally:
            code, said = made.run("destroy", "--yes", "--skip-preview", "--refresh", "--stack", stack)
            if code:
                pytest.fail(f"{said}\nSOMETHING IS LEFT IN THE ACCOUNT: `pulumi destroy` of stack {stack} in {root}")
    shutil.rmtree(root)


def install_plugin(made: Project) -> None:
    if REHEARSED:
        from localcloud.provider.install import install

        install(made.pulumi, made.environment)
        return
    from importlib.metadata import version

    made.require("plugin", "install", "resource", "aws", version("pulumi-aws"))


def test_a_model_lives_on_a_real_account_from_its_first_deployment_to_its_removal(live: Project) -> None:
    name = f"news-{live.stack}"
    sagemaker = live.cloud.sagemaker

    def runs() -> str:
        answer = live.cloud.describe(name)
        assert answer["EndpointStatus"] == "InService"
        return str(answer["EndpointConfigName"])

    live.write_model("news", deploy=DEPLOY)
    live.up()
    assert live.predict(name) == pytest.approx(expected())
    assert live.unchanged()

    # Another artifact moves the endpoint, and what it ran on is gone.
    first = runs()
    live.write_model("news", scale=3, deploy=DEPLOY)
    live.up()
    second = runs()
    assert second != first
    assert live.predict(name) == pytest.approx(expected(3))
    assert [one["EndpointConfigName"] for one in configurations(live)] == [second]

    # A range brings autoscaling, without an update; what somebody removes comes back.
    live.write_model("news", scale=3, deploy=RANGE)
    live.up()
    scaling = live.cloud.client("application-autoscaling")
    resource = f"endpoint/{name}/variant/AllTraffic"
    (policy,) = policies(scaling, resource)
    scaling.delete_scaling_policy(
        PolicyName=policy["PolicyName"],
        ServiceNamespace="sagemaker",
        ResourceId=resource,
        ScalableDimension=policy["ScalableDimension"],
    )
    live.require("up", "--yes", "--skip-preview", "--refresh", "--stack", live.stack)
    assert len(policies(scaling, resource)) == 1
    third = runs()

    # A version that does not start is rolled back, with the reason; mended, the next one goes through.
    write_model(live.root, "news", artifact=b"not an archive", deploy=RANGE)
    code, said = live.run("up", "--yes", "--skip-preview", "--stack", live.stack)
    assert code != 0
    assert "SageMaker rolled the update back" in said
    assert runs() == third
    assert live.predict(name) == pytest.approx(expected(3))
    live.write_model("news", scale=2, deploy=RANGE)
    live.up()
    assert live.predict(name) == pytest.approx(expected(2))
    assert live.unchanged()

    live.require("destroy", "--yes", "--skip-preview", "--stack", live.stack)
    assert live.resources() == []
    assert sagemaker.list_endpoints(NameContains=live.stack)["Endpoints"] == []
    wait_for(lambda: configurations(live) == [], "the end of the last configuration")
    names = [
        role["RoleName"] for role in live.cloud.client("iam").list_roles(PathPrefix=f"/slipway/{live.stack}/")["Roles"]
    ]
    assert names == []
    buckets = [bucket["Name"] for bucket in live.cloud.client("s3").list_buckets()["Buckets"]]
    assert not [bucket for bucket in buckets if live.stack in bucket]


def configurations(made: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made.cloud.sagemaker.list_endpoint_configs(NameContains=made.stack)["EndpointConfigs"]
    return found


def policies(scaling: Any, resource: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource)[
        "ScalingPolicies"
    ]
    return found
