"""The one place that decides which AWS a stack talks to: this machine's, or the account's."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from infra.settings import Settings

# The version of localcloud's own `aws` plugin. AWS's real plugin never had it, so neither can stand in for the other.
LOCAL_VERSION = "0.0.1"
LOCAL_SERVICES = (
    "applicationautoscaling", "budgets", "cloudwatch", "ecr", "iam", "kms", "logs", "s3", "sagemaker", "sns", "sts"
)  # fmt: skip


def aws_provider(settings: Settings) -> aws.Provider:
    default_tags = aws.ProviderDefaultTagsArgs(tags={**settings.tags, "slipway:stack": settings.stack})
    if settings.endpoint_url is not None and settings.plugin == "official":
        return _official(settings, settings.endpoint_url, default_tags)
    if settings.endpoint_url is not None:
        endpoints = dict.fromkeys(LOCAL_SERVICES, settings.endpoint_url)
        return aws.Provider(
            "aws",
            region=settings.region,
            default_tags=default_tags,
            endpoints=[aws.ProviderEndpointArgs(**endpoints)],
            opts=pulumi.ResourceOptions(version=LOCAL_VERSION),
        )
    assert settings.account is not None  # noqa: S101  read_settings refuses a stack on AWS without it
    return aws.Provider(
        "aws",
        region=settings.region,
        default_tags=default_tags,
        allowed_account_ids=[settings.account],
    )


def _official(settings: Settings, url: str, default_tags: aws.ProviderDefaultTagsArgs) -> aws.Provider:
    """AWS's own plugin against the local AWS: what it says of our emulation is the strongest test of it."""
    endpoints = dict.fromkeys((*LOCAL_SERVICES, "s3control"), url)
    return aws.Provider(
        "aws",
        region=settings.region,
        default_tags=default_tags,
        endpoints=[aws.ProviderEndpointArgs(**endpoints)],
        access_key="local",
        secret_key="local",  # noqa: S106  the local AWS takes any
        s3_use_path_style=True,
        skip_credentials_validation=True,
        skip_metadata_api_check=True,
        skip_region_validation=True,
    )
