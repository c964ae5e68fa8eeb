"""The bootstrap on a recording engine: what it makes, who may take the roles, and what they may do."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from recording_engine import DEPRECATED, LOOP

from infra import policies
from infra.bootstrap import permissions, program
from infra.bootstrap.permissions import Place, Stores
from infra.bootstrap.settings import KEYS
from infra.images import Repository
from infra.policy.resources import Resource, Stack
from infra.policy.rules import RULES, violations

pytestmark = [pytest.mark.filterwarnings(one) for one in DEPRECATED]

ROOT = Path(__file__).parents[2]
ACCOUNT = "123456789012"
PLACE = Place("aws", "eu-west-1", ACCOUNT)
STORES = Stores("arn:aws:s3:::state-1", "arn:aws:s3:::cache-1", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1")
INLINE_LIMIT, MANAGED_LIMIT = 10240, 6144  # characters without white space that IAM takes


class Recorder(pulumi.runtime.Mocks):
    def __init__(self) -> None:
        self.made: list[Resource] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.typ == "aws:s3/bucket:Bucket":
            outputs |= {"bucket": f"{args.name}-0a1b2c3", "arn": f"arn:aws:s3:::{args.name}-0a1b2c3"}
        elif args.typ == "aws:kms/key:Key":
            outputs |= {"keyId": "k", "arn": STORES.key}
        elif args.typ.startswith("aws:"):
            outputs.setdefault("name", args.name)
            outputs.setdefault("arn", f"arn:aws:mock:::{args.name}")
        urn = f"urn:pulumi:main::slipway-bootstrap::{args.typ}::{args.name}"
        self.made.append(Resource(args.typ, urn, args.name, outputs))
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(f"{args.token}: the bootstrap asks the account nothing")

    def one(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = [one for one in self.made if one.type.endswith(f":{kind}") and one.name == name]
        return dict(found.properties)

    def names(self, kind: str) -> list[str]:
        return sorted(one.name for one in self.made if one.type.endswith(f":{kind}"))

    def trusted(self, role: str) -> list[dict[str, Any]]:
        return list(json.loads(self.one("Role", role)["assumeRolePolicy"])["Statement"])

    def subjects(self, role: str) -> list[str]:
        """Every subject that a role trusts."""
        return [
            subject
            for statement in self.trusted(role)
            for compared in statement["Condition"].values()
            for claim, values in compared.items()
            if claim.endswith(":sub")
            for subject in values
        ]


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that runs the program with a configuration, and gives the recorder and the outputs."""
    asyncio.set_event_loop(LOOP)

    def run(**config: str) -> tuple[Recorder, dict[str, Any]]:
        recorder = Recorder()
        pulumi.runtime.set_mocks(recorder, project="slipway-bootstrap", stack="main")
        config = {"region": "eu-west-1", "account": ACCOUNT, **config}
        pulumi.runtime.set_all_config({f"slipway-bootstrap:{key}": value for key, value in config.items()})
        exported: dict[str, Any] = {}
        monkeypatch.setattr(pulumi, "export", exported.__setitem__)

        @pulumi.runtime.test
        def whole() -> None:
            program.run()

        whole()
        return recorder, exported

    yield run
    pulumi.runtime.set_all_config({})


def allowed(statements: list[dict[str, Any]]) -> set[str]:
    return {action for statement in statements for action in permissions._listed(statement["Action"])}


def may(statements: list[dict[str, Any]], action: str, resource: str) -> bool:
    """Whether a statement without regard to its conditions allows it."""
    return any(
        any(fnmatchcase(action, pattern) for pattern in permissions._listed(statement["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in permissions._listed(statement["Resource"]))
        for statement in statements
    )


def test_state_cache_and_their_key_are_made_and_what_would_be_lost_is_protected(bootstrap: Any) -> None:
    recorder, outputs = bootstrap(github="acme/models")
    assert recorder.names("Bucket") == ["slipway-cache-main", "slipway-state-main"]
    assert recorder.one("BucketVersioning", "slipway-state-main")["versioningConfiguration"]["status"] == "Enabled"
    (rule,) = recorder.one("BucketServerSideEncryptionConfiguration", "slipway-state-main")["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": STORES.key}
    assert recorder.one("Key", "slipway-state")["enableKeyRotation"] is True
    assert recorder.one("Alias", "slipway-state")["name"] == "alias/slipway-state"
    assert set(outputs) == {
        "PULUMI_BACKEND_URL",
        "SLIPWAY_BUILD_CACHE",
        "SLIPWAY_DEPLOY_ROLE",
        "SLIPWAY_PREVIEW_ROLE",
        "secretsprovider",
        "slipway:permissions_boundary",
    }
    assert list(outputs["SLIPWAY_DEPLOY_ROLE"]) == ["dev", "staging", "prod", "pr"]


def test_a_role_is_taken_by_jobs_of_one_repository_and_one_environment_alone(bootstrap: Any) -> None:
    recorder, _ = bootstrap(github="acme/models")
    assert recorder.subjects("slipway-deploy-prod") == ["repo:acme/models:environment:prod"]
    assert recorder.subjects("slipway-deploy-pr") == ["repo:acme/models:environment:preview"]
    assert recorder.subjects("slipway-preview") == [
        "repo:acme/models:pull_request",
        "repo:acme/models:ref:refs/heads/main",
    ]
    for role in recorder.names("Role"):
        for statement in recorder.trusted(role):
            host = "token.actions.githubusercontent.com"
            assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
            assert statement["Condition"]["StringEquals"][f"{host}:aud"] == "sts.amazonaws.com"
            assert f"{host}:sub" in statement["Condition"]["StringEquals"]


def test_gitlab_gets_the_same_roles_and_only_branches_are_left_open(bootstrap: Any) -> None:
    recorder, _ = bootstrap(gitlab="acme/ml/models", branch="trunk", gitlab_url="https://git.acme.example")
    assert recorder.names("OpenIdConnectProvider") == ["slipway-gitlab"]
    assert recorder.one("OpenIdConnectProvider", "slipway-gitlab")["url"] == "https://git.acme.example"
    assert recorder.subjects("slipway-deploy-dev") == ["project_path:acme/ml/models:ref_type:branch:ref:trunk"]
    (statement,) = recorder.trusted("slipway-preview")
    assert statement["Condition"]["StringLike"] == {
        "git.acme.example:sub": ["project_path:acme/ml/models:ref_type:branch:ref:*"]
    }


def test_a_provider_that_the_account_has_already_is_taken(bootstrap: Any) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
    recorder, _ = bootstrap(github="acme/models", github_provider=arn)
    assert recorder.names("OpenIdConnectProvider") == []
    assert recorder.trusted("slipway-preview")[0]["Principal"] == {"Federated": arn}


def test_the_policy_pack_finds_nothing_but_what_a_deployer_cannot_do_without(bootstrap: Any) -> None:
    recorder, _ = bootstrap(github="acme/models", gitlab="acme/models")
    stack = Stack("main", tuple(recorder.made))
    assert any(True for rule in RULES if rule.name == "iam-no-exposure")
    found = {
        (rule.name, violation.urn.rpartition("::")[2], violation.message)
        for rule, violation in violations(stack)
        if rule.level("main") == "mandatory"
    }
    # Whoever makes a bucket closes it: by these, on the stack's own bucket.
    exposing = "lets its holder open resources to others: s3:deletebucketpolicy, s3:putbucketpolicy, "
    assert found == {
        ("iam-no-exposure", f"slipway-deploy-{name}", f"{exposing}s3:putbucketpublicaccessblock")
        for name in ("dev", "staging", "prod", "pr")
    }


def test_every_document_is_short_enough_for_iam() -> None:
    stacks = ["dev", "staging", "prod", "a-long-environment", "pr-*"]
    for statements in (permissions.preview(PLACE, stacks, STORES), permissions.deployer(PLACE, "a" * 22, STORES)):
        assert len(json.dumps(permissions.document(statements), separators=(",", ":"))) < INLINE_LIMIT
    text = json.dumps(permissions.document(permissions.boundary(PLACE, "a" * 22)), separators=(",", ":"))
    assert len(text) < MANAGED_LIMIT


def test_the_role_that_looks_changes_nothing_but_the_cache() -> None:
    statements = permissions.preview(PLACE, ["dev", "pr-*"], STORES)
    writing = {action for action in allowed(statements) if not permissions.READING.match(action)}
    assert writing == {
        "kms:Decrypt",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "s3:AbortMultipartUpload",
        "s3:PutObject",
    }
    assert may(statements, "s3:PutObject", f"{STORES.cache}/nodes/x")
    assert not may(statements, "s3:PutObject", f"{STORES.state}/.pulumi/stacks/slipway/dev.json")
    assert may(statements, "sagemaker:DescribeEndpoint", f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:endpoint/news-dev")


def test_a_deployer_reaches_the_state_and_the_resources_of_its_own_stack() -> None:
    statements = permissions.deployer(PLACE, "dev", STORES)
    state = f"{STORES.state}/.pulumi"
    for written in (
        "stacks/slipway/dev.json",
        "stacks/slipway/dev.pulumi-tags",
        "history/slipway/dev/dev-1.history.json",
        "backups/slipway/dev/dev.1.json",
        "locks/organization/slipway/dev/0.json",
    ):
        assert may(statements, "s3:PutObject", f"{state}/{written}"), written
    for foreign in ("stacks/slipway/prod.json", "locks/organization/slipway/prod/0.json", "stacks/slipway/dev2.json"):
        assert not may(statements, "s3:PutObject", f"{state}/{foreign}"), foreign
    assert not may(statements, "s3:PutObject", f"{STORES.cache}/nodes/x")
    endpoint = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:endpoint/news-"
    assert may(statements, "sagemaker:UpdateEndpoint", f"{endpoint}dev")
    assert not may(statements, "sagemaker:UpdateEndpoint", f"{endpoint}prod")


def test_a_deployer_makes_no_role_that_is_not_bounded() -> None:
    statements = permissions.deployer(PLACE, "dev", STORES)
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/slipway-ci/slipway-boundary-dev"
    for statement in statements:
        if set(permissions._listed(statement["Action"])) & {"iam:CreateRole", "iam:PutRolePolicy"}:
            assert statement["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": boundary}}
    assert not allowed(statements) & {
        "iam:UpdateAssumeRolePolicy",
        "iam:DeleteRolePermissionsBoundary",
        "iam:AttachRolePolicy",
        "iam:CreatePolicyVersion",
    }
    assert not may(statements, "iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/slipway-ci/slipway-deploy-dev")


def test_the_boundary_lets_a_model_do_all_that_infra_ever_gives_one() -> None:
    key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"
    given = policies.endpoint_execution(
        partition="aws",
        region="eu-west-1",
        account=ACCOUNT,
        bucket_arn="arn:aws:s3:::slipway-dev-0a1b2c3",
        artifact_key="news/1.tar.gz",
        image=Repository("763104351884", "eu-west-1", "images"),
        log_group="/aws/sagemaker/Endpoints/news-dev",
        grants=policies.Grants(
            read_prefixes=("async/news/input/",),
            write_prefixes=("async/news/output/",),
            alarms="news-dev",
            topic_arns=(f"arn:aws:sns:eu-west-1:{ACCOUNT}:news-dev-success",),
            key_arn=key,
            subnets=("subnet-1",),
            security_groups=("sg-1",),
            batch=policies.BatchGrant("news-dev", "batch/news/"),
        ),
    )
    bounds = permissions.boundary(PLACE, "dev")
    for statement in given["Statement"]:
        for action in permissions._listed(statement["Action"]):
            for resource in permissions._listed(statement["Resource"]):
                assert may(bounds, action, resource.replace("*", "x") if resource != "*" else "*"), (action, resource)
    assert not may(bounds, "iam:PutRolePolicy", "*")
    assert not may(bounds, "s3:GetObject", "arn:aws:s3:::slipway-prod-0a1b2c3/news/1.tar.gz")


def test_what_docs_show_is_what_the_bootstrap_gives() -> None:
    page = (ROOT / "docs/aws.md").read_text(encoding="utf-8")
    shown = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert shown
    text = shown[1].replace("REGION", "eu-west-1").replace("ACCOUNT", ACCOUNT)
    assert {one["Sid"]: one for one in json.loads(text)["Statement"]} == {
        one["Sid"]: one for one in permissions.deploy(PLACE, "dev", bounded=False)
    }


def test_what_docs_show_of_starting_jobs_is_what_the_code_gives() -> None:
    shown = re.search(r"```json\n(.*?)```", (ROOT / "docs/batch.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    text = shown[1].replace("REGION", "eu-west-1").replace("ACCOUNT", ACCOUNT)
    assert json.loads(text) == permissions.document(permissions.batch(PLACE, "dev"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "github: whose jobs?"),
        ({"github": "acme/*"}, "no OWNER/REPOSITORY"),
        ({"github": "acme/models", "environments": '["prod", "pr-1"]'}, "no stack's name"),
        ({"github": "acme/models", "branch": "release/*"}, "trust condition"),
        ({"github": "acme/models", "account": "12"}, "account"),
    ],
)
def test_what_would_let_others_in_is_refused_before_any_resource(
    bootstrap: Any, config: dict[str, str], said: str
) -> None:
    with pytest.raises(pulumi.RunError, match=re.escape(said)):
        bootstrap(**config)


def test_its_project_file_declares_exactly_the_keys_that_are_read() -> None:
    declared = yaml.safe_load((ROOT / "infra/bootstrap/Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    assert sorted(declared) == sorted(KEYS)


def test_what_docs_show_of_remote_builds_is_what_the_code_gives() -> None:
    shown = re.search(r"```json\n(.*?)```", (ROOT / "docs/remote.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    text = shown[1].replace("REGION", "eu-west-1").replace("ACCOUNT", ACCOUNT).replace("CACHE", "cache-1")
    assert json.loads(text.replace('"KEY"', json.dumps(STORES.key))) == permissions.document(
        permissions.start_builds(PLACE, STORES)
    )


def test_the_role_of_remote_builds_is_sagemakers_and_knows_the_cache_alone(bootstrap: Any) -> None:
    recorder, outputs = bootstrap(github="acme/models", remote_builds="true")
    (statement,) = recorder.trusted(permissions.BUILD_ROLE)
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    statements = permissions.build_job(PLACE, STORES)
    assert may(statements, "s3:PutObject", f"{STORES.cache}/nodes/0a/1.tar.gz")
    stream = f"log-group:{permissions.BUILD_LOGS}:log-stream:build-a/algo-1-1"
    assert may(statements, "logs:PutLogEvents", PLACE.arn("logs", stream))
    for action, resource in (
        ("s3:PutObject", f"{STORES.state}/.pulumi/stacks/slipway/dev.json"),
        ("s3:DeleteObject", f"{STORES.cache}/nodes/0a/1.tar.gz"),
        ("iam:PassRole", "*"),
        ("sagemaker:CreateEndpoint", "*"),
    ):
        assert not may(statements, action, resource), action
    assert set(outputs["slipway:builds"]) == {"role", "store"}
