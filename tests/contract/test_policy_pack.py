"""The policy pack on the real engine: the shipped program passes it, one that breaks rules does not get through."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from infra_project import CHECKOUT, Project, project

from toolchain.engine import Engine

pytestmark = pytest.mark.contract

PREVIEW = ("preview", "--stack", "local", "--policy-pack", str(CHECKOUT / "infra/policy"))

VIOLATING = """
    import json
    import os

    import pulumi
    import pulumi_aws as aws

    from infra.provider import LOCAL_SERVICES

    provider = aws.Provider(
        "aws",
        region="us-east-1",
        endpoints=[dict.fromkeys(LOCAL_SERVICES, os.environ["AWS_ENDPOINT_URL"])],
        opts=pulumi.ResourceOptions(version="0.0.1"),
    )
    here = pulumi.ResourceOptions(provider=provider)
    aws.s3.Bucket("open", opts=here)
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = aws.iam.Role("wide", assume_role_policy=json.dumps({"Statement": [trust]}), opts=here)
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    aws.iam.RolePolicy("wide", role=role.name, policy=json.dumps({"Statement": [everything]}), opts=here)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Project]:
    with project(tmp_path_factory.mktemp("policy") / "project", engine) as made:
        made.write_model("news", deploy={"instances": {"min": 1, "max": 2}})
        yield made


def test_the_shipped_program_breaks_no_mandatory_rule(made: Project):
    code, said = made.run(*PREVIEW)
    assert code == 0, said
    assert "slipway@" in said, "the pack did not run"
    assert "[mandatory]" not in said


def test_a_program_that_breaks_rules_fails_with_what_is_wrong_and_where(made: Project):
    (made.root / "Pulumi.yaml").write_text(
        "name: slipway\nruntime: {name: python, options: {toolchain: pip, virtualenv: .venv}}\n"
    )
    (made.root / "Pulumi.local.yaml").write_text("config: {}\n")
    Path(made.root / "__main__.py").write_text(textwrap.dedent(VIOLATING))
    code, said = made.run(*PREVIEW)
    assert code != 0
    assert "[mandatory]" in said
    assert "has no BucketPublicAccessBlock" in said
    assert "takes requests without TLS" in said
    assert "allows every action" in said
    assert "can be taken by a service for any account" in said
    assert "Traceback" not in said
