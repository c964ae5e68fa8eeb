"""MLServer (Seldon): models in its own process, metrics, gzip and debugging off; adaptive batching as a variant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.servers.launch import Launch, Model, environment
from bench.servers.ports import free_ports

VARIANTS: Mapping[str, Mapping[str, Any]] = {"plain": {}, "batched": {"max_batch_size": 32, "max_batch_time": 0.002}}
REQUIREMENTS = "peers-mlserver"
NEEDS: tuple[str, ...] = ()
WARM_UP = 5.0


def launch(variant: str, model: Model, python: Path, folder: Path, port: int) -> Launch:
    grpc, metrics = free_ports(2)
    settings = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc,
        "metrics_port": metrics,
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "gzip_enabled": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    values = {"name": "model", "implementation": "mlserver_app.Runtime", **VARIANTS[variant]}
    (folder / "model-settings.json").write_text(json.dumps(values))
    command: list[str | Path] = [python.parent / "mlserver", "start", folder]
    bodies = [json.dumps({"inputs": [_v2(sample)]}) for sample in model.samples]
    return Launch(command, bodies, "/v2/models/model/infer", environment(python, model, folder, port))


def _v2(sample: Any) -> dict[str, Any]:
    """A sample in the Open Inference Protocol that MLServer speaks."""
    if isinstance(sample, str):
        return {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [sample]}
    ((name, rows),) = sample.items()
    flat = [value for row in rows for value in row]
    return {"name": name, "shape": [len(rows), len(rows[0])], "datatype": "FP32", "data": flat}
