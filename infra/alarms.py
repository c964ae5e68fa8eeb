"""The alarms of an endpoint, as plain arguments of `aws.cloudwatch.MetricAlarm`. Pure.

They roll an update back, and tell the stack's topic. Each is metric math with a minimum-request guard: at low traffic
one slow or failed request is no evidence, and an update would be rolled back for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_build.deployment import RolloutAlarms

NAMESPACE = "AWS/SageMaker"
PERIOD_SECONDS = 60
EVALUATED_MINUTES, ALARMING_MINUTES = 3, 2

# What the build measured is of the model alone, on another machine: the default limit leaves room for both.
LATENCY_FACTOR = 10
LEAST_LATENCY_MS = 500.0

KINDS: Mapping[str, tuple[str, ...]] = {
    "realtime": ("latency", "5xx", "model-errors"),
    "serverless": ("latency", "5xx", "model-errors"),
    # AWS publishes neither Invocations nor InvocationModelErrors of async endpoints.
    "async": ("latency", "failures"),
}
"""Kind of endpoint → its alarms; settings never change the list, since that would replace the endpoint."""


def name(endpoint: str, kind: str) -> str:
    """Fixed, since the endpoint's deployment configuration names it."""
    return f"{endpoint}-{kind}"


def latency_limit_ms(limits: RolloutAlarms, measured_p95_ms: float) -> float:
    return limits.latency_p95_ms or max(LEAST_LATENCY_MS, round(LATENCY_FACTOR * measured_p95_ms, 1))


def alarm(
    kind: str,
    *,
    endpoint: str,
    endpoint_kind: str,
    limits: RolloutAlarms,
    measured_p95_ms: float,
    variants: Sequence[str],
    configuration: Any,
) -> dict[str, Any]:
    """The alarm's arguments.

    `configuration` is the new endpoint configuration's name (or its output): with it as a dimension, an update is
    judged by the new instances' requests alone, however few of all requests these get.
    """
    dimensions = [
        {"EndpointName": endpoint, "VariantName": variant}
        | ({} if endpoint_kind == "async" else {"EndpointConfigName": configuration})
        for variant in variants
    ]
    guard = limits.min_requests
    if kind == "latency":
        threshold = latency_limit_ms(limits, measured_p95_ms)
        queries, expression = _latency(dimensions, endpoint_kind, guard)
        said = f"p95 of the model's latency above {threshold:g} ms"
    elif kind == "failures":
        threshold = limits.errors_5xx_percent
        queries, expression = _share(dimensions, "InvocationFailures", guard, extra="InvocationsProcessed")
        said = f"more than {threshold:g} % of the requests fail"
    else:
        threshold = limits.errors_5xx_percent if kind == "5xx" else limits.model_errors_percent
        metric = {"5xx": "Invocation5XXErrors", "model-errors": "InvocationModelErrors"}[kind]
        queries, expression = _share(dimensions, metric, guard, of="Invocations")
        what = "end in a server error" if kind == "5xx" else "are not answered with 2xx by the container"
        said = f"more than {threshold:g} % of the requests {what}"
    return {
        "name": name(endpoint, kind),
        "alarm_description": f"{endpoint}: {said}; minutes with fewer than {guard} requests are not judged",
        "comparison_operator": "GreaterThanThreshold",
        "threshold": threshold,
        "evaluation_periods": EVALUATED_MINUTES,
        "datapoints_to_alarm": ALARMING_MINUTES,
        # No request is no error.
        "treat_missing_data": "notBreaching",
        "metric_queries": [*queries, {"id": "judged", "expression": expression, "label": kind, "return_data": True}],
    }


def _latency(dimensions: Sequence[Any], endpoint_kind: str, guard: int) -> tuple[list[dict[str, Any]], str]:
    """Milliseconds: of the slowest variant that has enough requests."""
    queries, judged = [], []
    for index, of in enumerate(dimensions):
        latency, requests = f"l{index}", f"n{index}"
        counted, statistic = ("ModelLatency", "SampleCount") if endpoint_kind == "async" else ("Invocations", "Sum")
        queries += [_metric(latency, "ModelLatency", "p95", of), _metric(requests, counted, statistic, of)]
        judged.append(f"IF({requests} >= {guard}, {latency} / 1000, 0)")  # SageMaker measures microseconds
    return queries, judged[0] if len(judged) == 1 else f"MAX([{', '.join(judged)}])"


def _share(
    dimensions: Sequence[Any], metric: str, guard: int, *, of: str | None = None, extra: str | None = None
) -> tuple[list[dict[str, Any]], str]:
    """Percent: `metric` of all requests, which are those of `of`, or `metric` and `extra` together."""
    counted = of or extra or ""
    queries = []
    for index, narrowed in enumerate(dimensions):
        queries += [_metric(f"e{index}", metric, "Sum", narrowed), _metric(f"n{index}", counted, "Sum", narrowed)]
    errors = " + ".join(f"FILL(e{index}, 0)" for index in range(len(dimensions)))
    requests = " + ".join(f"FILL(n{index}, 0)" for index in range(len(dimensions)))
    if extra:
        requests = f"{requests} + {errors}"
    return queries, f"IF({requests} >= {guard}, 100 * ({errors}) / ({requests}), 0)"


def _metric(identifier: str, metric: str, statistic: str, dimensions: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": identifier,
        "return_data": False,
        "metric": {
            "namespace": NAMESPACE,
            "metric_name": metric,
            "period": PERIOD_SECONDS,
            "stat": statistic,
            "dimensions": dict(dimensions),
        },
    }
