"""LitServe: ZeroMQ queues (`fast_queue`), one worker, no access log; batching as a variant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.servers.launch import PROGRAMS, Launch, Model, environment

VARIANTS: Mapping[str, Mapping[str, int]] = {"plain": {"batch": 1}, "batched": {"batch": 32}}
REQUIREMENTS = "peers-litserve"
NEEDS: tuple[str, ...] = ()
WARM_UP = 5.0


def launch(variant: str, model: Model, python: Path, folder: Path, port: int) -> Launch:
    values = environment(python, model, folder, port, **VARIANTS[variant])
    return Launch([python, PROGRAMS / "litserve_app.py"], model.bodies, "/predict", values)
