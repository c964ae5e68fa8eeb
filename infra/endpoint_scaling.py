"""An endpoint's autoscaling: scalable target, policies, their alarms, timetable. `scaling` says which; this declares.

Apart from the endpoint because it stands on one that runs, and goes before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import names, scaling
from model_build.deployment import Deploy


def declare(
    parent: pulumi.Resource,
    endpoint: aws.sagemaker.Endpoint,
    *,
    settled: pulumi.Output[str],
    name: str,
    deploy: Deploy,
    target: float | None,
    tags: Mapping[str, str],
) -> None:
    """Nothing is declared where nothing scales.

    `settled` is the endpoint's name once it has moved: where it was rolled back, what was registered stays. `target` is
    what `autoscaling.target: auto` came to.
    """
    if not scaling.scales(deploy):
        return
    registered = aws.appautoscaling.Target(
        name,
        service_namespace=scaling.NAMESPACE,
        scalable_dimension=scaling.DIMENSION,
        resource_id=settled.apply(names.scalable_resource),
        min_capacity=deploy.instances.min,
        max_capacity=deploy.instances.max,
        tags=tags,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[endpoint],
            # Another instance type: `Account.release_scaling` deregistered it before the endpoint was updated, and here
            # it is registered anew. Deleted first, or else the deletion of the old one would take the new one along.
            replacement_trigger=deploy.instance,
            delete_before_replace=True,
        ),
    )
    whose: dict[str, Any] = {
        "service_namespace": registered.service_namespace,
        "scalable_dimension": registered.scalable_dimension,
        "resource_id": registered.resource_id,
    }
    child = pulumi.ResourceOptions(parent=parent)
    value = scaling.target(deploy, target)
    tracking: Any = scaling.tracking(deploy, name, value)
    aws.appautoscaling.Policy(
        name,
        policy_type="TargetTrackingScaling",
        target_tracking_scaling_policy_configuration=tracking,
        opts=child,
        **whose,
    )
    for step in scaling.step_policies(deploy, name, value):
        configuration: Any = step.policy
        policy = aws.appautoscaling.Policy(
            f"{name}-{step.suffix}",
            policy_type="StepScaling",
            step_scaling_policy_configuration=configuration,
            opts=child,
            **whose,
        )
        alarm: dict[str, Any] = dict(step.alarm)
        aws.cloudwatch.MetricAlarm(alarm["name"], alarm_actions=[policy.arn], tags=tags, opts=child, **alarm)
    previous: Sequence[pulumi.Resource] = []
    for scheduled, arguments in scaling.scheduled_actions(deploy, name).items():
        # One after the other: Application Auto Scaling refuses concurrent changes of one target.
        opts = pulumi.ResourceOptions(parent=parent, depends_on=previous)
        action: Any = arguments
        previous = [aws.appautoscaling.ScheduledAction(scheduled, name=scheduled, opts=opts, **action, **whose)]
