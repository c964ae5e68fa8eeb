"""A BentoML service around `lean.Model`: one worker; metrics, access log and tracing off; batched where it is asked."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import lean

SETTINGS: Any = {
    "workers": 1,
    "traffic": {"timeout": 60},
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "monitoring": {"enabled": False},
}


class Plain:
    def __init__(self) -> None:
        self.model = lean.load()

    @bentoml.api
    def predict(self, inputs: Any) -> Any:
        return self.model.predict([inputs])[0]


class OnLoop:
    """Predicts on the event loop: no hop to a thread, and nothing else happens meanwhile."""

    def __init__(self) -> None:
        self.model = lean.load()

    @bentoml.api
    async def predict(self, inputs: Any) -> Any:
        return self.model.predict([inputs])[0]


class Batched:
    def __init__(self) -> None:
        self.model = lean.load()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def predict(self, inputs: list[Any]) -> list[Any]:
        return self.model.predict(inputs)


service = bentoml.service(
    {"plain": Plain, "on the loop": OnLoop, "batched": Batched}[os.environ["SLIPWAY_BENCH_VARIANT"]], **SETTINGS
)
