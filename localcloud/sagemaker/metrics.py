"""CloudWatch metrics of invocations: gathered per variant, put into CloudWatch at an interval.

Apart from the runtime so that an invocation costs a few additions, whatever CloudWatch's emulation costs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from localcloud import emulation

NAMESPACE = "AWS/SageMaker"

_UNITS = {
    "Invocations": "None",
    "InvocationsPerInstance": "None",
    "ModelLatency": "Microseconds",
    "OverheadLatency": "Microseconds",
    "Invocation4XXErrors": "None",
    "Invocation5XXErrors": "None",
    "InvocationModelErrors": "None",
}


@dataclass
class Statistics:
    """A CloudWatch statistic set."""

    count: int = 0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)

    def values(self) -> dict[str, float]:
        return {"SampleCount": self.count, "Sum": self.total, "Minimum": self.least, "Maximum": self.most}


@dataclass(frozen=True)
class Invocation:
    """What one request to a variant came to. `status` is the model's HTTP status, 0 where it gave none in time."""

    region: str
    endpoint: str
    variant: str
    status: int
    instances: int
    model_seconds: float
    overhead_seconds: float

    def measures(self) -> dict[str, float]:
        server_error = self.status >= 500 or self.status == 0
        return {
            "Invocations": 1.0,
            "InvocationsPerInstance": 1.0 / max(1, self.instances),
            "ModelLatency": self.model_seconds * 1e6,
            "OverheadLatency": self.overhead_seconds * 1e6,
            "Invocation4XXErrors": float(400 <= self.status < 500),
            "Invocation5XXErrors": float(server_error),
            "InvocationModelErrors": float(server_error or self.status >= 400),
        }


Key = tuple[str, str, str]


@dataclass
class Metrics:
    """Gathers invocations; `run` puts them into CloudWatch every `interval` seconds."""

    interval: float = 5.0
    _gathered: dict[Key, dict[str, Statistics]] = field(default_factory=dict)

    def record(self, invocation: Invocation) -> None:
        key = (invocation.region, invocation.endpoint, invocation.variant)
        sets = self._gathered.setdefault(key, {name: Statistics() for name in _UNITS})
        for name, value in invocation.measures().items():
            sets[name].add(value)

    def take(self) -> dict[str, list[dict[str, Any]]]:
        """What was gathered since the last call, as PutMetricData's `MetricData` per region."""
        gathered, self._gathered = self._gathered, {}
        data: dict[str, list[dict[str, Any]]] = {}
        for (region, endpoint, variant), sets in gathered.items():
            dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
            for name, statistics in sets.items():
                data.setdefault(region, []).append(
                    {
                        "MetricName": name,
                        "Dimensions": dimensions,
                        "Unit": _UNITS[name],
                        "StatisticValues": statistics.values(),
                    }
                )
        return data

    def flush(self) -> None:
        for region, data in self.take().items():
            emulation.put_metrics(region, NAMESPACE, data)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.interval)
            self.flush()
