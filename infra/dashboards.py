"""One CloudWatch dashboard per environment and model: how it is asked, how it answers, how it scales. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from infra import alarms, hosting
from model_build.deployment import SHADOW_VARIANT, Deploy

INSTANCES = "/aws/sagemaker/Endpoints"
WIDTH, HEIGHT, COLUMNS = 12, 6, 2

Line = tuple[str, str, str, str]
"""Namespace, metric, statistic, label."""


def body(endpoint: str, deploy: Deploy, region: str, alarm_arns: Sequence[str] = ()) -> str:
    """The dashboard's JSON."""
    widgets: list[dict[str, Any]] = []
    for title, lines, by_variant in _graphs(deploy):
        widgets.append(_graph(len(widgets), title, _metrics(endpoint, deploy, lines, by_variant), region))
    if alarm_arns:
        widgets.append(
            _placed(len(widgets), "alarm", {"title": "Alarms that roll an update back", "alarms": list(alarm_arns)})
        )
    return json.dumps({"start": "-PT3H", "widgets": widgets}, sort_keys=True)


def _graphs(deploy: Deploy) -> Iterator[tuple[str, list[Line], bool]]:
    """Title, lines, whether each variant has its own."""
    sagemaker = alarms.NAMESPACE
    errors = [
        (sagemaker, "Invocation4XXErrors", "Sum", "4xx"),
        (sagemaker, "Invocation5XXErrors", "Sum", "5xx"),
    ]
    if deploy.endpoint == "async":
        yield (
            "Backlog",
            [
                (sagemaker, "ApproximateBacklogSize", "Average", "waiting"),
                (sagemaker, "ApproximateBacklogSizePerInstance", "Average", "an instance"),
            ],
            False,
        )
        yield (
            "Requests a minute",
            [
                (sagemaker, "InvocationsProcessed", "Sum", "processed"),
                (sagemaker, "InvocationFailures", "Sum", "failed"),
            ],
            True,
        )
    else:
        errors.append((sagemaker, "InvocationModelErrors", "Sum", "model"))
        yield "Requests a minute", [(sagemaker, "Invocations", "Sum", "requests")], True
    yield "Errors a minute", errors, True
    yield (
        "Model latency, µs",
        [(sagemaker, "ModelLatency", statistic, statistic) for statistic in ("p50", "p95", "p99")],
        True,
    )
    if deploy.endpoint == "serverless":
        yield "Cold starts, µs", [(sagemaker, "ModelSetupTime", "Average", "setup")], True
        return
    if deploy.endpoint == "realtime":
        yield (
            "Load of an instance",
            [
                (sagemaker, "InvocationsPerInstance", "Sum", "requests a minute"),
                (sagemaker, "ConcurrentRequestsPerModel", "Average", "in flight"),
            ],
            True,
        )
    yield (
        "Utilization, %",
        [(INSTANCES, "CPUUtilization", "Average", "CPU"), (INSTANCES, "MemoryUtilization", "Average", "memory")],
        True,
    )
    yield "Instances", [(INSTANCES, "CPUUtilization", "SampleCount", "instances")], True


def _metrics(endpoint: str, deploy: Deploy, lines: Sequence[Line], by_variant: bool) -> list[list[Any]]:
    if not by_variant:
        return [
            [namespace, metric, "EndpointName", endpoint, {"stat": statistic, "label": label}]
            for namespace, metric, statistic, label in lines
        ]
    variants = [variant["variant_name"] for variant in hosting.production_variants(deploy, "", 1)]
    if deploy.shadow:
        variants.append(SHADOW_VARIANT)
    return [
        [
            *(namespace, metric, "EndpointName", endpoint, "VariantName", variant),
            {"stat": statistic, "label": label if len(variants) == 1 else f"{variant} {label}"},
        ]
        for variant in variants
        for namespace, metric, statistic, label in lines
    ]


def _graph(index: int, title: str, metrics: list[list[Any]], region: str) -> dict[str, Any]:
    properties = {"title": title, "region": region, "view": "timeSeries", "period": 60, "metrics": metrics}
    return _placed(index, "metric", properties)


def _placed(index: int, kind: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": kind,
        "x": index % COLUMNS * WIDTH,
        "y": index // COLUMNS * HEIGHT,
        "width": WIDTH,
        "height": HEIGHT,
        "properties": properties,
    }
