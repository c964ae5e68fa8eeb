"""IAM and bucket policy documents. Pure functions, so that what they grant can be tested without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra.images import Repository

Document = dict[str, Any]


def tls_only(bucket_arn: str) -> Document:
    """A bucket policy that refuses every request that is not encrypted on its way."""
    return _document(
        {
            "Sid": "RefusePlaintext",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket_arn, f"{bucket_arn}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )


def assumed_by_sagemaker(partition: str, region: str, account: str) -> Document:
    """Who may take the role: SageMaker, and only on behalf of this account (the confused deputy has no way in)."""
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account},
                "ArnLike": {"aws:SourceArn": f"arn:{partition}:sagemaker:{region}:{account}:*"},
            },
        }
    )


def alarm_topic(topic_arn: str, account: str) -> Document:
    """Who may publish to the alarm topic: alarms and budgets of this account, and no one in plaintext."""
    return _document(
        {
            "Sid": "AlarmsAndBudgets",
            "Effect": "Allow",
            "Principal": {"Service": ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": account}},
        },
        {
            "Sid": "RefusePlaintext",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    )


def stack_key(partition: str, account: str) -> Document:
    """Who may use the stack's key: whom IAM of this account names, and the services that fill its encrypted topic."""
    return _document(
        {
            "Sid": "IamOfThisAccount",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
            "Action": "kms:*",
            "Resource": "*",  # in a key's policy: this key
        },
        {
            "Sid": "AlarmsAndBudgets",
            "Effect": "Allow",
            "Principal": {"Service": ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceAccount": account}},
        },
    )


BATCH_LOGS = "/aws/sagemaker/TransformJobs"


@dataclass(frozen=True)
class BatchGrant:
    """Jobs whose names begin with `jobs-`, on `folder` of the stack's bucket and on addresses in S3, which end with a
    slash.
    """

    jobs: str
    folder: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grants:
    """What an endpoint may do beyond the least; each is empty where the spec asks for nothing of the kind."""

    shadow_image: Repository | None = None
    read_prefixes: tuple[str, ...] = ()
    write_prefixes: tuple[str, ...] = ()
    alarms: str | None = None
    """Prefix of the names of the alarms that roll its updates back: SageMaker reads them with this role."""
    topic_arns: tuple[str, ...] = ()
    key_arn: str | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    batch: BatchGrant | None = None


def endpoint_execution(
    *,
    partition: str,
    region: str,
    account: str,
    bucket_arn: str,
    artifact_key: str,
    image: Repository,
    log_group: str,
    grants: Grants | None = None,
) -> Document:
    """What one model's endpoint may do: read its artifact, pull its image, write its logs and metrics."""
    grants = grants or Grants()
    logs = f"arn:{partition}:logs:{region}:{account}:log-group:{log_group}"
    repositories = [image] if grants.shadow_image in (None, image) else [image, grants.shadow_image]
    arns = [f"arn:{partition}:ecr:{one.region}:{one.account}:repository/{one.name}" for one in repositories if one]
    return _document(
        {
            "Sid": "ReadArtifact",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": f"{bucket_arn}/{artifact_key}",
        },
        {
            "Sid": "PullImage",
            "Effect": "Allow",
            "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Resource": arns[0] if len(arns) == 1 else arns,
        },
        {
            # A registry token belongs to no repository; AWS knows no narrower resource.
            "Sid": "LogInToRegistry",
            "Effect": "Allow",
            "Action": "ecr:GetAuthorizationToken",
            "Resource": "*",
        },
        {
            "Sid": "WriteLogs",
            "Effect": "Allow",
            "Action": [
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            "Resource": [logs, f"{logs}:*"],
        },
        {
            # Metrics have no ARN; the namespace is what can be narrowed.
            "Sid": "WriteMetrics",
            "Effect": "Allow",
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {
                "StringEquals": {
                    "cloudwatch:namespace": [
                        "/aws/sagemaker/Endpoints",
                        "AWS/SageMaker",
                        *([BATCH_LOGS] if grants.batch else []),
                    ]
                }
            },
        },
        *_further(grants, partition, region, account, bucket_arn),
    )


def _further(grants: Grants, partition: str, region: str, account: str, bucket_arn: str) -> Iterator[Document]:
    here = f"{region}:{account}"
    for sid, action, prefixes in (
        ("ReadRequests", "s3:GetObject", grants.read_prefixes),
        ("WriteAnswers", "s3:PutObject", grants.write_prefixes),
    ):
        if prefixes:
            yield _allow(sid, action, [f"{bucket_arn}/{prefix}*" for prefix in prefixes])
    if grants.batch:
        yield from _batch(grants.batch, partition, here, bucket_arn)
    if grants.alarms:
        alarms = f"arn:{partition}:cloudwatch:{here}:alarm:{grants.alarms}-*"
        yield _allow("ReadRollbackAlarms", "cloudwatch:DescribeAlarms", [alarms])
    if grants.topic_arns:
        yield _allow("TellTopics", "sns:Publish", list(grants.topic_arns))
    if grants.key_arn:
        suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
        services = [f"{service}.{region}.{suffix}" for service in ("s3", "sns")]
        yield _allow("UseKey", ["kms:Decrypt", "kms:GenerateDataKey"], [grants.key_arn]) | {
            "Condition": {"StringEquals": {"kms:ViaService": services}}
        }
        # SageMaker hands the key on to the volumes of the instances.
        yield _allow("LendKeyToVolumes", "kms:CreateGrant", [grants.key_arn]) | {
            "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        }
        yield _allow("DescribeKey", "kms:DescribeKey", [grants.key_arn])
    if grants.subnets:
        ec2 = f"arn:{partition}:ec2:{here}"
        interfaces = f"{ec2}:network-interface/*"
        reached = [f"{ec2}:subnet/{subnet}" for subnet in grants.subnets]
        reached += [f"{ec2}:security-group/{group}" for group in grants.security_groups]
        yield _allow("JoinNetwork", "ec2:CreateNetworkInterface", [interfaces, *reached])
        yield _allow(
            "KeepInterfaces",
            [
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            [interfaces],
        )
        # EC2's describing actions know no resources.
        yield _allow(
            "LookAround",
            [
                "ec2:DescribeDhcpOptions",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ],
            "*",
        )


def _batch(batch: BatchGrant, partition: str, here: str, bucket_arn: str) -> Iterator[Document]:
    """What a transform job does with the model's role: it finds its inputs, reads them, writes outputs and logs."""

    def split(addresses: tuple[str, ...]) -> list[tuple[str, str]]:
        """(ARN of the bucket, prefix) of each, the stack's own folder first."""
        parts = [address.removeprefix("s3://").partition("/") for address in addresses]
        return [(bucket_arn, batch.folder), *((f"arn:{partition}:s3:::{name}", folder) for name, _, folder in parts)]

    for number, (bucket, prefix) in enumerate(split(batch.inputs)):
        yield _allow(f"FindBatch{number or ''}", "s3:ListBucket", bucket) | {
            "Condition": {"StringLike": {"s3:prefix": f"{prefix}*"}}
        }
    read, written = split(batch.inputs), split(batch.outputs)
    yield _allow("ReadBatch", "s3:GetObject", [f"{bucket}/{prefix}*" for bucket, prefix in read])
    yield _allow(
        "WriteBatch", ["s3:AbortMultipartUpload", "s3:PutObject"], [f"{bucket}/{prefix}*" for bucket, prefix in written]
    )
    # One group has the logs of all jobs of an account; their streams begin with the job's name.
    group = f"arn:{partition}:logs:{here}:log-group:{BATCH_LOGS}"
    yield _allow("FindBatchLogs", ["logs:CreateLogGroup", "logs:DescribeLogStreams"], [group, f"{group}:*"])
    streams = f"{group}:log-stream:{batch.jobs}-*"
    yield _allow("WriteBatchLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], streams)


def _allow(sid: str, action: str | list[str], resource: str | list[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": action, "Resource": resource}


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}
