"""BentoML: one worker, metrics, access log and tracking off; on a thread, on the event loop, and batched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.servers.launch import PROGRAMS, Launch, Model, environment

VARIANTS: Mapping[str, Mapping[str, Any]] = {"plain": {}, "on the loop": {}, "batched": {}}
REQUIREMENTS = "peers-bentoml"
NEEDS: tuple[str, ...] = ()
WARM_UP = 5.0


def launch(variant: str, model: Model, python: Path, folder: Path, port: int) -> Launch:
    values = environment(python, model, folder, port) | {
        "SLIPWAY_BENCH_VARIANT": variant,
        "BENTOML_HOME": str(folder),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    command: list[str | Path] = [python.parent / "bentoml", "serve", "bentoml_app:service", "--working-dir", PROGRAMS]
    command += ["--host", "127.0.0.1", "--port", str(port), "--quiet"]
    many = variant == "batched"
    bodies = [json.dumps({"inputs": [sample] if many else sample}) for sample in model.samples]
    return Launch(command, bodies, "/predict", values)
