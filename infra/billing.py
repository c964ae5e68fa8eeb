"""From how a model is hosted to what is billed: the settings of `deploy`, as `cost` counts them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from infra import cost, timetable
from model_build.deployment import Deploy, Serverless
from model_build.manifest import Manifest

INVOCATIONS = 600
"""A minute and instance: the target where none is given."""


def hosting(deploy: Deploy, artifact_bytes: int | None, target: float | None = None) -> cost.Hosting:
    """`artifact_bytes` is None before the build; `target` is what `autoscaling.target: auto` came to, if it did."""
    stated = deploy.traffic
    traffic = cost.Traffic(stated.requests_per_minute, stated.seconds) if stated else None
    return cost.Hosting(tuple(_parts(deploy, target)), artifact_bytes, traffic)


def of_manifest(manifest: Manifest, environment: str, target: float | None = None) -> cost.Hosting:
    return hosting(manifest.deployment(environment), manifest.artifact.bytes, target)


def _parts(deploy: Deploy, target: float | None) -> Iterator[cost.Fleet | cost.Serverless]:
    if deploy.endpoint == "serverless":
        size = deploy.serverless or Serverless()
        yield cost.Serverless(size.memory_mb, size.max_concurrency, size.provisioned_concurrency or 0)
        return
    weights = 1 + sum(variant.weight for variant in deploy.variants.values())
    yield cost.Fleet(deploy.instance, _spans(deploy), _target(deploy, target), 1 / weights)
    for variant in deploy.variants.values():
        yield cost.Fleet(variant.instance or deploy.instance, _fixed(variant.instances))
    if deploy.shadow:
        yield cost.Fleet(deploy.shadow.instance or deploy.instance, _fixed(deploy.shadow.instances))


def _spans(deploy: Deploy) -> tuple[timetable.Span, ...]:
    changes = [
        timetable.Change(action.expression, action.timezone, action.min, action.max)
        for action in deploy.autoscaling.schedule
    ]
    return timetable.spans(deploy.instances.min, deploy.instances.max, changes)


def _fixed(instances: int) -> tuple[timetable.Span, ...]:
    return (timetable.Span(1.0, instances, instances),)


def _target(deploy: Deploy, resolved: float | None) -> float | None:
    """Invocations a minute that one instance takes; None where scaling holds something else, or nobody measured it."""
    if deploy.metric != "invocations":
        return None
    given = deploy.autoscaling.target
    if given == "auto":
        return resolved
    return INVOCATIONS if given is None else given
