"""What the roles of CI jobs may do: pure policy documents, narrowed to one stack by the names that `infra` gives.

docs/aws.md shows the deploying role's, and a test holds both together. `stack` may be a pattern, `pr-*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from infra import names, own_image
from infra.policies import BATCH_LOGS

Statement = dict[str, Any]
PROJECT = "slipway"
READING = re.compile(r"\w[\w-]*:(Get|Describe|List|View)")
"""Actions that change nothing. `s3:GetObject` is one: a refresh looks at artifacts."""
FOR_EVERYTHING = "AllOf"
"""Begins the names of statements whose actions AWS lets nobody narrow."""


@dataclass(frozen=True)
class Place:
    partition: str
    region: str
    account: str

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        region = self.region if regional else ""
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"


@dataclass(frozen=True)
class Stores:
    """ARNs of the buckets, and of the key that encrypts both."""

    state: str
    cache: str
    key: str


def boundary_name(stack: str) -> str:
    return f"slipway-boundary-{_plain(stack)}"


def boundary_arn(place: Place, stack: str) -> str:
    return place.arn("iam", f"policy/slipway-ci/{boundary_name(stack)}", regional=False)


def _plain(stack: str) -> str:
    return stack.replace("-*", "")


def deploy(place: Place, stack: str, bounded: bool = True) -> list[Statement]:
    """What `pulumi up` and `destroy` call on one stack.

    `bounded`: roles that it makes must bear the stack's permissions boundary, so that it can give no role more than
    that. What a role's trust says is then not for it to change.
    """
    roles = place.arn("iam", f"role{names.role_path(stack)}*", regional=False)
    within = {"Condition": {"StringEquals": {"iam:PermissionsBoundary": boundary_arn(place, stack)}}}
    making = ["iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
    keeping = [
        "iam:DeleteRole", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies",
        "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies", "iam:TagRole", "iam:UntagRole", "iam:UpdateRole",
        "iam:UpdateRoleDescription",
    ]  # fmt: skip
    roles_of_models = (
        [_allow("MakeExecutionRoles", making, roles) | within, _allow("ExecutionRoles", keeping, roles)]
        if bounded
        else [_allow("ExecutionRoles", sorted([*making, *keeping, "iam:UpdateAssumeRolePolicy"]), roles)]
    )
    return [
        _allow(
            "Bucket",
            [
                "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:GetAccelerateConfiguration",
                "s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration",
                "s3:GetReplicationConfiguration", "s3:ListBucket", "s3:ListBucketVersions", "s3:ListTagsForResource",
                "s3:PutBucketLogging", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketOwnershipControls",
                "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning",
                "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:TagResource", "s3:UntagResource",
            ],
            f"arn:{place.partition}:s3:::{PROJECT}-{stack}-*",
        ),
        _allow(
            "Artifacts",
            [
                "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObject",
                "s3:GetObjectTagging", "s3:GetObjectVersion", "s3:PutObject", "s3:PutObjectTagging",
            ],
            f"arn:{place.partition}:s3:::{PROJECT}-{stack}-*/*",
        ),
        *roles_of_models,
        _allow("HandRolesToSageMaker", "iam:PassRole", roles)
        | {"Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}},
        _allow(
            "Endpoints",
            [
                "sagemaker:AddTags", "sagemaker:CreateEndpoint", "sagemaker:CreateEndpointConfig",
                "sagemaker:CreateModel", "sagemaker:DeleteEndpoint", "sagemaker:DeleteEndpointConfig",
                "sagemaker:DeleteModel", "sagemaker:DeleteTags", "sagemaker:DescribeEndpoint",
                "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel", "sagemaker:InvokeEndpoint",
                "sagemaker:ListTags", "sagemaker:UpdateEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities",
            ],
            [
                place.arn("sagemaker", f"endpoint/*-{stack}"),
                place.arn("sagemaker", f"endpoint-config/*-{stack}-*"),
                place.arn("sagemaker", f"model/*-{stack}-*"),
            ],
        ),
        _allow(
            "Autoscaling",
            [
                "application-autoscaling:DeleteScalingPolicy", "application-autoscaling:DeleteScheduledAction",
                "application-autoscaling:DeregisterScalableTarget", "application-autoscaling:ListTagsForResource",
                "application-autoscaling:PutScalingPolicy", "application-autoscaling:PutScheduledAction",
                "application-autoscaling:RegisterScalableTarget", "application-autoscaling:TagResource",
                "application-autoscaling:UntagResource",
            ],
            place.arn("application-autoscaling", "scalable-target/*"),
        ),
        _allow(
            f"{FOR_EVERYTHING}Autoscaling",
            [
                "application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies",
                "application-autoscaling:DescribeScheduledActions", "sagemaker:ListEndpoints",
            ],
            "*",
        ),
        _allow(
            "AlarmsAndDashboards",
            [
                "cloudwatch:DeleteAlarms", "cloudwatch:DeleteDashboards", "cloudwatch:DescribeAlarms",
                "cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource", "cloudwatch:PutDashboard",
                "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource",
            ],
            [
                place.arn("cloudwatch", f"dashboard/*-{stack}", regional=False),
                place.arn("cloudwatch", f"alarm:*-{stack}-*"),
                # Those of target tracking, which autoscaling makes in the name of whoever puts the policy.
                place.arn("cloudwatch", f"alarm:TargetTracking-endpoint/*-{stack}/*"),
            ],
        ),
        _allow(
            "Topics",
            [
                "sns:CreateTopic", "sns:DeleteTopic", "sns:GetTopicAttributes", "sns:ListTagsForResource",
                "sns:SetTopicAttributes", "sns:TagResource", "sns:UntagResource",
            ],
            place.arn("sns", f"*-{stack}-*"),
        ),
        _allow(
            "Budget",
            [
                "budgets:ListTagsForResource", "budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource",
                "budgets:ViewBudget",
            ],
            place.arn("budgets", f"budget/{PROJECT}-{stack}", regional=False),
        ),
        _allow(
            "OwnImage",
            [
                "ecr:BatchCheckLayerAvailability", "ecr:CompleteLayerUpload", "ecr:CreateRepository",
                "ecr:DeleteLifecyclePolicy", "ecr:DeleteRepository", "ecr:DescribeImages", "ecr:DescribeRepositories",
                "ecr:GetLifecyclePolicy", "ecr:InitiateLayerUpload", "ecr:ListTagsForResource", "ecr:PutImage",
                "ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy",
                "ecr:TagResource", "ecr:UntagResource", "ecr:UploadLayerPart",
            ],
            place.arn("ecr", f"repository/{own_image.repository_name(stack)}"),
        ),
        _allow(
            "AutoscalingsOwnRole",
            "iam:CreateServiceLinkedRole",
            f"arn:{place.partition}:iam::*:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*",
        )
        | {
            "Condition": {"StringLike": {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}}
        },
    ]  # fmt: skip


def preview(place: Place, stacks: Iterable[str], stores: Stores) -> list[Statement]:
    """What looks and builds: reads every stack and its state, writes the shared cache, and nothing else."""
    merged: dict[str, Statement] = {}
    for stack in stacks:
        for statement in deploy(place, stack):
            actions = [action for action in _listed(statement["Action"]) if READING.match(action)]
            if actions:
                known = merged.setdefault(statement["Sid"], _allow(statement["Sid"], actions, []))
                known["Resource"] = sorted({*known["Resource"], *_listed(statement["Resource"])})
    return [
        *merged.values(),
        # `slipway doctor`. AWS narrows it to nothing.
        _allow(f"{FOR_EVERYTHING}Quotas", "servicequotas:ListServiceQuotas", "*"),
        *_state(stores),
        _allow("Cache", ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], f"{stores.cache}/*"),
        _allow("FindInCache", ["s3:GetBucketLocation", "s3:ListBucket"], stores.cache),
        _allow("Key", _KEY, stores.key),
    ]


def deployer(place: Place, stack: str, stores: Stores) -> list[Statement]:
    """What deploys to one stack: the stack itself, its state and its lock. It builds nothing, so it has no cache."""
    kept = f"{stores.state}/.pulumi"
    own = [
        f"{kept}/stacks/{PROJECT}/{stack}.*",
        f"{kept}/history/{PROJECT}/{stack}/*",
        f"{kept}/backups/{PROJECT}/{stack}/*",
        f"{kept}/locks/organization/{PROJECT}/{stack}/*",
    ]
    return [
        *deploy(place, stack),
        *_state(stores),
        _allow("WriteState", ["s3:DeleteObject", "s3:PutObject"], own),
        _allow("Key", _KEY, stores.key),
    ]


_KEY = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]


def _state(stores: Stores) -> Iterator[Statement]:
    yield _allow("FindState", ["s3:GetBucketLocation", "s3:ListBucket"], stores.state)
    yield _allow("ReadState", "s3:GetObject", f"{stores.state}/.pulumi/*")


def batch(place: Place, stack: str) -> list[Statement]:
    """What `slipway batch` calls on one stack. Jobs run with the models' own roles; docs/batch.md shows it."""
    bucket = f"arn:{place.partition}:s3:::{PROJECT}-{stack}-*"
    logs = place.arn("logs", f"log-group:{BATCH_LOGS}")
    return [
        _allow(
            "BatchJobs",
            [
                "sagemaker:AddTags", "sagemaker:CreateTransformJob", "sagemaker:DescribeTransformJob",
                "sagemaker:StopTransformJob",
            ],
            place.arn("sagemaker", f"transform-job/*-{stack}-*"),
        ),
        _allow(
            "WhatRuns",
            ["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"],
            [
                place.arn("sagemaker", f"endpoint/*-{stack}"),
                place.arn("sagemaker", f"endpoint-config/*-{stack}-*"),
                place.arn("sagemaker", f"model/*-{stack}-*"),
            ],
        ),
        _allow("FindData", "s3:ListBucket", bucket) | {"Condition": {"StringLike": {"s3:prefix": "batch/*"}}},
        _allow("Data", ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], f"{bucket}/batch/*"),
        _allow("Logs", ["logs:DescribeLogStreams", "logs:GetLogEvents"], [logs, f"{logs}:*"]),
    ]  # fmt: skip


BUILD_LOGS = "/aws/sagemaker/ProcessingJobs"
BUILD_ROLE = "slipway-build-job"


def build_job(place: Place, stores: Stores) -> list[Statement]:
    """What the job of a remote build does: it builds out of the shared cache and into it, and writes its logs."""
    logs = place.arn("logs", f"log-group:{BUILD_LOGS}")
    return [
        *_shared(stores),
        _allow("Key", _KEY, stores.key),
        _allow(
            "Images",
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            f"arn:{place.partition}:ecr:*:*:repository/*",
        ),
        _allow(f"{FOR_EVERYTHING}Registries", "ecr:GetAuthorizationToken", "*"),
        _allow("FindLogs", ["logs:CreateLogGroup", "logs:DescribeLogStreams"], [logs, f"{logs}:*"]),
        _allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], f"{logs}:log-stream:build-*"),
        _allow(f"{FOR_EVERYTHING}Metrics", "cloudwatch:PutMetricData", "*")
        | {"Condition": {"StringEquals": {"cloudwatch:namespace": BUILD_LOGS}}},
    ]  # fmt: skip


def start_builds(place: Place, stores: Stores) -> list[Statement]:
    """What `slipway build --on sagemaker` calls; docs/remote.md shows it."""
    logs = place.arn("logs", f"log-group:{BUILD_LOGS}")
    return [
        _allow(
            "BuildJobs",
            [
                "sagemaker:AddTags", "sagemaker:CreateProcessingJob", "sagemaker:DescribeProcessingJob",
                "sagemaker:StopProcessingJob",
            ],
            place.arn("sagemaker", "processing-job/build-*"),
        ),
        _allow("HandRoleToJobs", "iam:PassRole", place.arn("iam", f"role/slipway-ci/{BUILD_ROLE}", regional=False))
        | {"Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}},
        _allow("Logs", ["logs:DescribeLogStreams", "logs:GetLogEvents"], [logs, f"{logs}:*"]),
        *_shared(stores),
        _allow("Key", _KEY, stores.key),
    ]  # fmt: skip


def _shared(stores: Stores) -> Iterator[Statement]:
    """The shared cache, read and written in parts."""
    moving = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
    yield _allow("Cache", moving, f"{stores.cache}/*")
    finding = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    yield _allow("FindInCache", finding, stores.cache)


def boundary(place: Place, stack: str) -> list[Statement]:
    """The most that a model's execution role may ever do, whatever a deployment writes into it."""
    logs = place.arn("logs", f"log-group:{names.log_group(f'*-{stack}')}")
    batch_logs = place.arn("logs", f"log-group:{BATCH_LOGS}")
    bucket = f"arn:{place.partition}:s3:::{PROJECT}-{stack}-*"
    network = [place.arn("ec2", f"{kind}/*") for kind in ("network-interface", "subnet", "security-group")]
    return [
        _allow("Objects", ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], f"{bucket}/*"),
        _allow("FindBatch", "s3:ListBucket", bucket) | {"Condition": {"StringLike": {"s3:prefix": "batch/*"}}},
        _allow(
            "Images",
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            f"arn:{place.partition}:ecr:*:*:repository/*",
        ),
        _allow(f"{FOR_EVERYTHING}Registries", "ecr:GetAuthorizationToken", "*"),
        _allow(
            "Logs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [logs, f"{logs}:*"],
        ),
        _allow("FindBatchLogs", ["logs:CreateLogGroup", "logs:DescribeLogStreams"], [batch_logs, f"{batch_logs}:*"]),
        _allow(
            "BatchLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], f"{batch_logs}:log-stream:*-{stack}-*"
        ),
        _allow(f"{FOR_EVERYTHING}Metrics", "cloudwatch:PutMetricData", "*")
        | {
            "Condition": {
                "StringEquals": {"cloudwatch:namespace": ["/aws/sagemaker/Endpoints", "AWS/SageMaker", BATCH_LOGS]}
            }
        },
        _allow("Alarms", "cloudwatch:DescribeAlarms", place.arn("cloudwatch", f"alarm:*-{stack}-*")),
        _allow("Topics", "sns:Publish", place.arn("sns", "*")),
        _allow("Keys", ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"], place.arn("kms", "key/*")),
        _allow("KeysOfVolumes", "kms:CreateGrant", place.arn("kms", "key/*"))
        | {"Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}}},
        _allow(
            "Network",
            [
                "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            network,
        ),
        _allow(
            f"{FOR_EVERYTHING}Networks",
            [
                "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets", "ec2:DescribeVpcs",
            ],
            "*",
        ),
    ]  # fmt: skip


def document(statements: Iterable[Statement]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _allow(sid: str, action: str | list[str], resource: str | list[str]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": action, "Resource": resource}
