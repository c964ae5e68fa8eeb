"""The program itself: settings → verified models → one bucket and one endpoint per model → outputs."""

from __future__ import annotations

import os
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import cost, hosting, mirror_buckets, names, scaling, stack_cost, update_hooks
from infra.artifact_bucket import ArtifactBucket, ArtifactBucketArgs
from infra.encryption import EncryptionKey, EncryptionKeyArgs
from infra.image_repository import ImageRepository, ImageRepositoryArgs
from infra.live import Account, LiveEndpoint, LiveError
from infra.manifests import BuiltModel, find_models
from infra.model_endpoint import ModelEndpoint, ModelEndpointArgs
from infra.provider import aws_provider
from infra.settings import MADE, Settings, SettingsError, read_settings
from infra.watching import AlarmTopic, AlarmTopicArgs, MonthlyBudget, MonthlyBudgetArgs


def run() -> None:
    """Declares the whole stack. Raises pulumi.RunError with every problem, before any resource exists."""
    settings, models = _verified()
    live = Account(settings)
    running = _running(live, settings, models)
    provider = aws_provider(settings)
    account = aws.get_caller_identity_output(opts=pulumi.InvokeOptions(provider=provider)).account_id
    everywhere = pulumi.ResourceOptions(providers=[provider])
    key = _key(settings, account, everywhere)
    topic = _alarm_topic(settings, account, key, everywhere)
    _budget(settings, topic, everywhere)
    bucket = ArtifactBucket(
        "slipway",
        ArtifactBucketArgs(
            stack=settings.stack,
            noncurrent_days=settings.noncurrent_days,
            disposable=settings.disposable,
            protected=settings.production,
            key=key,
            kept_days=hosting.kept_days({model.name: model.deploy for model in models}),
            access_logs=settings.access_logs,
            object_lock_days=settings.object_lock_days,
        ),
        everywhere,
    )
    if any(model.uses_own_image for model in models):
        images = ImageRepositoryArgs(settings.stack, disposable=settings.disposable, protected=settings.production)
        pulumi.export("image_repository", ImageRepository("slipway", images, everywhere).url)
    mirror_buckets.make(models, settings)
    hooks = update_hooks.binding(live)
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
                live=live,
                running=running.get(names.endpoint(model.name, settings.stack)),
                hooks=hooks,
                surroundings=hosting.Surroundings(
                    key, settings.subnets, settings.security_groups, settings.permissions_boundary
                ),
                alarm_topic=topic,
                watched=settings.watched,
                charted=settings.charted,
                kept=settings.object_lock_days is not None,
            ),
            everywhere,
        )
        for model in models
    }
    pulumi.export("region", settings.region)
    pulumi.export("bucket", bucket.name)
    pulumi.export("endpoints", {name: endpoint.endpoint_name for name, endpoint in endpoints.items()})
    pulumi.export("models", {model.name: _summary(model) for model in models})
    pulumi.export("cost", cost.as_json(stack_cost.of_models(models, settings)))
    if topic is not None:
        pulumi.export("alarm_topic", topic)


def _verified() -> tuple[Settings, list[BuiltModel]]:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        raise pulumi.RunError(_listed(error.problems)) from None
    problems: list[str] = []
    models = find_models(settings, problems)
    problems += stack_cost.refusals(models, settings)
    problems += mirror_buckets.refusals(models, settings)
    if problems:
        raise pulumi.RunError(_listed(problems))
    return settings, models


def _running(live: Account, settings: Settings, models: list[BuiltModel]) -> dict[str, LiveEndpoint]:
    """The endpoints whose count may differ from their configuration's, as they are now; previews look too."""
    scaled = [names.endpoint(model.name, settings.stack) for model in models if scaling.scales(model.deploy)]
    try:
        return live.endpoints(scaled)
    except LiveError as error:
        raise pulumi.RunError(_listed([str(error)])) from None


def _key(settings: Settings, account: pulumi.Input[str], opts: pulumi.ResourceOptions) -> Any:
    """ARN of the stack's key; None where S3 and SageMaker encrypt with their own."""
    if settings.kms != MADE:
        return settings.kms
    args = EncryptionKeyArgs(settings.stack, settings.region, account, settings.production)
    return EncryptionKey("slipway", args, opts).arn


def _alarm_topic(settings: Settings, account: pulumi.Input[str], key: Any, opts: pulumi.ResourceOptions) -> Any:
    if settings.alarm_topic != MADE:
        return settings.alarm_topic
    return AlarmTopic("slipway", AlarmTopicArgs(settings.stack, account, key), opts).arn


def _budget(settings: Settings, topic: Any, opts: pulumi.ResourceOptions) -> None:
    if settings.monthly_budget is not None:
        args = MonthlyBudgetArgs(settings.stack, settings.monthly_budget, settings.budget_emails, topic)
        MonthlyBudget("slipway", args, opts)


def _listed(problems: list[str]) -> str:
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"nothing was deployed, because of {count}:", *(f"  {problem}" for problem in problems)])


def _summary(model: BuiltModel) -> dict[str, str]:
    return {
        "digest": model.digest,
        "candidate": model.manifest.candidate,
        "instance": model.deploy.instance,
    }
