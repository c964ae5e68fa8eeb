"""The program: key and buckets, the forges' OIDC providers, one role that looks and one for each environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.artifact_bucket import ArtifactBucket, ArtifactBucketArgs
from infra.bootstrap import permissions, trust
from infra.bootstrap.permissions import Place, Statement, Stores
from infra.bootstrap.settings import Settings, read_settings
from infra.images import partition
from infra.settings import SettingsError

# Not below /slipway/STACK/, where a deploying role may change roles.
PATH = "/slipway-ci/"
ALIAS = "alias/slipway-state"
PULL_REQUESTS = "pr-*"
KEPT_STATES_DAYS = 90
KEPT_CACHE_DAYS = 90
SESSION_SECONDS = 7200
"""A deployment that watches a canary takes longer than the hour that a session has otherwise."""


def run() -> None:
    """Declares everything. Raises pulumi.RunError with every problem, before any resource exists."""
    try:
        settings = read_settings()
    except SettingsError as error:
        raise pulumi.RunError("nothing was deployed:\n  " + "\n  ".join(error.problems)) from None
    place = Place(partition(settings.region), settings.region, settings.account)
    provider = aws.Provider(
        "aws",
        region=settings.region,
        allowed_account_ids=[settings.account],
        default_tags=aws.ProviderDefaultTagsArgs(tags={"slipway:bootstrap": pulumi.get_stack()}),
    )
    opts = pulumi.ResourceOptions(provider=provider)
    everywhere = pulumi.ResourceOptions(providers=[provider])
    key = _key(place, opts)
    state = ArtifactBucket("slipway-state", _bucket(key, KEPT_STATES_DAYS, protected=True), everywhere)
    cache = ArtifactBucket("slipway-cache", _bucket(key, 7, protected=False, nodes=KEPT_CACHE_DAYS), everywhere)
    known = pulumi.Output.all(state=state.arn, cache=cache.arn, key=key.arn)
    providers = {forge: _provider(forge, arn, opts) for forge, arn in _forges(settings)}
    stacks = [*settings.environments, *([PULL_REQUESTS] if settings.pull_requests else [])]

    def role(name: str, subjects: Mapping[trust.Forge, list[str]], what: str, statements: Any) -> pulumi.Output[str]:
        return _role(
            name, {forge: (providers[forge], allowed) for forge, allowed in subjects.items()}, what, statements, opts
        )

    looking = role(
        "slipway-preview",
        {forge: forge.reviewers() for forge in providers},
        "Looks at every environment, builds, and writes the shared cache",
        known.apply(lambda arns: permissions.preview(place, stacks, Stores(**arns))),
    )
    deploying, boundaries = {}, {}
    for stack in stacks:
        name = stack.removesuffix("-*")
        boundaries[name] = _boundary(place, stack, opts)
        deploying[name] = role(
            f"slipway-deploy-{name}",
            {forge: forge.previewers() if stack == PULL_REQUESTS else forge.deployers(stack) for forge in providers},
            f"Deploys to {stack}",
            known.apply(partial(_deployer, place, stack)),
        )
    pulumi.export(
        "PULUMI_BACKEND_URL", state.name.apply(lambda name: f"s3://{name}?region={settings.region}&awssdk=v2")
    )
    pulumi.export("SLIPWAY_BUILD_CACHE", cache.name.apply(lambda name: f"s3://{name}"))
    pulumi.export("secretsprovider", f"awskms://{ALIAS}?region={settings.region}&awssdk=v2")
    pulumi.export("SLIPWAY_PREVIEW_ROLE", looking)
    pulumi.export("SLIPWAY_DEPLOY_ROLE", deploying)
    pulumi.export("slipway:permissions_boundary", boundaries)
    if settings.remote_builds:
        statements = known.apply(lambda arns: permissions.build_job(place, Stores(**arns)))
        store = cache.name.apply(lambda name: f"s3://{name}")
        pulumi.export("slipway:builds", {"role": _build_role(statements, opts), "store": store})


def _deployer(place: Place, stack: str, arns: Mapping[str, str]) -> list[Statement]:
    return permissions.deployer(place, stack, Stores(**arns))


def _key(place: Place, opts: pulumi.ResourceOptions) -> aws.kms.Key:
    key = aws.kms.Key(
        "slipway-state",
        description="Pulumi's state, its secrets, and the shared cache of Slipway",
        enable_key_rotation=True,
        deletion_window_in_days=30,
        policy=json.dumps(
            permissions.document(
                [
                    {
                        "Sid": "IamOfThisAccount",
                        "Effect": "Allow",
                        "Principal": {"AWS": place.arn("iam", "root", regional=False)},
                        "Action": "kms:*",
                        "Resource": "*",  # in a key's policy: this key
                    }
                ]
            )
        ),
        # Without it no state can be read.
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=True)),
    )
    aws.kms.Alias("slipway-state", name=ALIAS, target_key_id=key.key_id, opts=opts)
    return key


def _bucket(key: aws.kms.Key, noncurrent: int, protected: bool, nodes: int | None = None) -> ArtifactBucketArgs:
    return ArtifactBucketArgs(
        stack=pulumi.get_stack(),
        noncurrent_days=noncurrent,
        disposable=False,
        protected=protected,
        key=key.arn,
        kept_days={"nodes/": nodes} if nodes else {},
    )


def _forges(settings: Settings) -> list[tuple[trust.Forge, str | None]]:
    """Each with the ARN of its OIDC provider, where the account has it already."""
    found = []
    if settings.github:
        forge = trust.Forge("github", trust.GITHUB_URL, settings.github, settings.branch)
        found.append((forge, settings.github_provider))
    if settings.gitlab:
        forge = trust.Forge("gitlab", settings.gitlab_url, settings.gitlab, settings.branch)
        found.append((forge, settings.gitlab_provider))
    return found


def _provider(forge: trust.Forge, arn: str | None, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
    if arn:
        return arn
    made = aws.iam.OpenIdConnectProvider(
        f"slipway-{forge.kind}", url=forge.url, client_id_lists=[trust.AUDIENCE], opts=opts
    )
    return made.arn


def _role(
    name: str,
    subjects: Mapping[trust.Forge, tuple[pulumi.Input[str], list[str]]],
    what: str,
    statements: pulumi.Output[list[Statement]],
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """ARN of a role that jobs of the forges take. Its name is fixed, since repositories are told of it."""
    forges = list(subjects)
    trusted = pulumi.Output.all(*(subjects[forge][0] for forge in forges)).apply(
        lambda arns: json.dumps(
            trust.document({arn: (forge, subjects[forge][1]) for arn, forge in zip(arns, forges, strict=True)})
        )
    )
    return _made(name, what, trusted, statements, opts, max_session_duration=SESSION_SECONDS)


def _build_role(statements: pulumi.Output[list[Statement]], opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """ARN of the role that jobs of SageMaker take which build."""
    service = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return _made(
        permissions.BUILD_ROLE,
        "Builds out of the shared cache and into it, as a processing job",
        json.dumps(permissions.document([service])),
        statements,
        opts,
    )


def _made(
    name: str,
    what: str,
    trusted: pulumi.Input[str],
    statements: pulumi.Output[list[Statement]],
    opts: pulumi.ResourceOptions,
    **more: Any,
) -> pulumi.Output[str]:
    """ARN of a role of a fixed name with one policy. `trusted` says who may take it."""
    made = aws.iam.Role(name, name=name, path=PATH, description=what, assume_role_policy=trusted, opts=opts, **more)
    aws.iam.RolePolicy(
        name,
        role=made.name,
        policy=statements.apply(lambda listed: json.dumps(permissions.document(listed), separators=(",", ":"))),
        opts=opts,
    )
    return made.arn


def _boundary(place: Place, stack: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    name = permissions.boundary_name(stack)
    made = aws.iam.Policy(
        name,
        name=name,
        path=PATH,
        description=f"The most that roles of models in {stack} may ever do",
        policy=json.dumps(permissions.document(permissions.boundary(place, stack)), separators=(",", ":")),
        opts=opts,
    )
    return made.arn
