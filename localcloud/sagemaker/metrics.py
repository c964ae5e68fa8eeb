"""CloudWatch metrics as hosting publishes them: of every invocation, and of replicas every ten seconds.

Apart from the runtime so that an invocation costs a few additions, and names, units and dimensions are in one place.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from localcloud.cloudwatch.store import Metric
from localcloud.cloudwatch.watch import TICK_SECONDS, Watch
from localcloud.sagemaker.endpoint import Endpoint
from localcloud.sagemaker.fleet import Fleet
from localcloud.sagemaker.load import memory_percent
from localcloud.sagemaker.serverless import ServerlessFleet

NAMESPACE = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"

_UNITS = {
    "Invocations": "None",
    "InvocationsPerInstance": "None",
    "ModelLatency": "Microseconds",
    "OverheadLatency": "Microseconds",
    "Invocation4XXErrors": "None",
    "Invocation5XXErrors": "None",
    "InvocationModelErrors": "None",
}


@dataclass(frozen=True)
class Invocation:
    """What one request to a variant came to. `status` is the model's HTTP status, 0 where it gave none in time."""

    region: str
    endpoint: str
    variant: str
    config: str
    status: int
    instances: int
    model_seconds: float
    overhead_seconds: float
    # AWS has no InvocationsPerInstance of asynchronous endpoints.
    per_instance: bool = True

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


def dimensions(endpoint: str, variant: str) -> dict[str, str]:
    return {"EndpointName": endpoint, "VariantName": variant}


@dataclass
class Metrics:
    """Puts what hosting measures into CloudWatch, at the clock's time.

    Invocations carry EndpointName and VariantName, and a second time EndpointConfigName too: an alarm of a deployment
    watches the new fleet alone by it. Each counts `weight` times: with the clock's speed for a weight, what metrics say
    of a second of the clock is what replicas are under in a second of the wall.
    """

    watch: Watch
    interval: float = 5.0
    weight: float = 1.0
    _known: dict[tuple[str, str, str, str], list[tuple[str, Metric, Metric]]] = field(default_factory=dict)
    _sampled: float = 0.0

    def record(self, invocation: Invocation) -> None:
        now = self.watch.clock.now()
        store = self.watch.store(invocation.region)
        measures = invocation.measures()
        for name, of_variant, of_config in self._metrics(invocation):
            if name == "InvocationsPerInstance" and not invocation.per_instance:
                continue
            store.put(of_variant, now, measures[name], self.weight, unit=_UNITS[name])
            store.put(of_config, now, measures[name], self.weight, unit=_UNITS[name])

    def _metrics(self, invocation: Invocation) -> list[tuple[str, Metric, Metric]]:
        key = (invocation.region, invocation.endpoint, invocation.variant, invocation.config)
        found = self._known.get(key)
        if found is None:
            narrow = dimensions(invocation.endpoint, invocation.variant)
            exact = {**narrow, "EndpointConfigName": invocation.config}
            found = [(name, Metric.of(NAMESPACE, name, narrow), Metric.of(NAMESPACE, name, exact)) for name in _UNITS]
            self._known[key] = found
        return found

    def observe(self, endpoints: Iterable[Endpoint], moment: float) -> None:
        """To be called at every multiple of ten seconds: what replicas did in the ten seconds before `moment`."""
        real = time.monotonic()
        # Linux counts processor time in hundredths of a second: shorter than a second, it would be noise.
        sample = real - self._sampled >= max(1.0, self.interval / self.watch.clock.speed)
        if sample:
            self._sampled = real
        for endpoint in endpoints:
            for fleet in endpoint.running_fleets():
                self._observe_fleet(endpoint, fleet, moment, sample)
                fleet.tick(moment)

    def _observe_fleet(self, endpoint: Endpoint, fleet: Fleet, moment: float, sample: bool) -> None:
        store = self.watch.store(endpoint.region)
        of_variant = dimensions(endpoint.name, fleet.variant.name)
        start = moment - TICK_SECONDS

        def put(namespace: str, name: str, value: float | None, unit: str, step: int = 60) -> None:
            if value is not None:
                store.put(Metric.of(namespace, name, of_variant), start, value, unit=unit, step=step)

        for replica in fleet.healthy:
            concurrency = replica.load.take_concurrency(replica.outstanding)
            put(NAMESPACE, "ConcurrentRequestsPerModel", concurrency, "None", TICK_SECONDS)
            if sample and replica.pid is not None:
                put(INSTANCES, "CPUUtilization", replica.load.take_processor(replica.pid), "Percent")
                put(INSTANCES, "MemoryUtilization", memory_percent(replica.pid), "Percent")
        if isinstance(fleet, ServerlessFleet):
            for seconds in fleet.take_cold_starts():
                put(NAMESPACE, "ModelSetupTime", seconds * 1e6, "Microseconds")
        elif moment % 60 == 0 and fleet.healthy and not endpoint.asynchronous:
            # AWS emits zeros for a variant without traffic, so that it scales in to its minimum.
            idle = Metric.of(NAMESPACE, "InvocationsPerInstance", of_variant)
            if not store.read(idle, moment - 60, moment, 60):
                store.put(idle, moment - 60, 0.0, unit="None")
