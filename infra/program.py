"""The program itself: settings → verified models → one bucket and one endpoint per model → outputs."""

from __future__ import annotations

import os

import pulumi
import pulumi_aws as aws

from infra.artifact_bucket import ArtifactBucket, ArtifactBucketArgs
from infra.manifests import BuiltModel, find_models
from infra.model_endpoint import ModelEndpoint, ModelEndpointArgs
from infra.provider import aws_provider
from infra.settings import Settings, SettingsError, read_settings


def run() -> None:
    """Declares the whole stack. Raises pulumi.RunError with every problem, before any resource exists."""
    settings, models = _verified()
    provider = aws_provider(settings)
    account = aws.get_caller_identity_output(opts=pulumi.InvokeOptions(provider=provider)).account_id
    everywhere = pulumi.ResourceOptions(providers=[provider])
    bucket = ArtifactBucket(
        "slipway",
        ArtifactBucketArgs(
            stack=settings.stack,
            noncurrent_days=settings.noncurrent_days,
            disposable=settings.local,
            protected=settings.production,
        ),
        everywhere,
    )
    endpoints = {
        model.name: ModelEndpoint(
            model.name,
            ModelEndpointArgs(
                model=model,
                bucket=bucket,
                stack=settings.stack,
                region=settings.region,
                account=account,
                protected=settings.production,
            ),
            everywhere,
        )
        for model in models
    }
    pulumi.export("region", settings.region)
    pulumi.export("bucket", bucket.name)
    pulumi.export("endpoints", {name: endpoint.endpoint_name for name, endpoint in endpoints.items()})
    pulumi.export("models", {model.name: _summary(model) for model in models})


def _verified() -> tuple[Settings, list[BuiltModel]]:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        raise pulumi.RunError(_listed(error.problems)) from None
    problems: list[str] = []
    models = find_models(settings, problems)
    if problems:
        raise pulumi.RunError(_listed(problems))
    return settings, models


def _listed(problems: list[str]) -> str:
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"nothing was deployed, because of {count}:", *(f"  {problem}" for problem in problems)])


def _summary(model: BuiltModel) -> dict[str, str]:
    return {
        "digest": model.digest,
        "candidate": model.manifest.candidate,
        "instance": model.deploy.instance,
    }
