"""IAM and bucket policy documents. Pure functions, so that what they grant can be tested without an engine."""

from __future__ import annotations

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


def endpoint_execution(
    *,
    partition: str,
    region: str,
    account: str,
    bucket_arn: str,
    artifact_key: str,
    image: Repository,
    log_group: str,
) -> Document:
    """What one model's endpoint may do: read its artifact, pull its image, write its logs and metrics."""
    logs = f"arn:{partition}:logs:{region}:{account}:log-group:{log_group}"
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
            "Resource": f"arn:{partition}:ecr:{image.region}:{image.account}:repository/{image.name}",
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
            "Condition": {"StringEquals": {"cloudwatch:namespace": ["/aws/sagemaker/Endpoints", "AWS/SageMaker"]}},
        },
    )


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}
