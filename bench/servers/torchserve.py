"""TorchServe with one worker: plain, with vectorised batching, and started by the SageMaker PyTorch toolkit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.servers.launch import PROGRAMS, Launch, Model, Unavailable, environment, toolkit_folder
from bench.servers.ports import free_ports

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"batchSize": 1, "maxBatchDelay": 1},
    "vectorised batching": {"batchSize": 32, "maxBatchDelay": 1},
    "SageMaker toolkit": {},
}
REQUIREMENTS = "torchserve"
NEEDS = ("java",)
WARM_UP = 30.0


def launch(variant: str, model: Model, python: Path, folder: Path, port: int) -> Launch:
    metrics, grpc, grpc_management = free_ports(3)
    values = environment(python, model, folder, port)
    if variant == "SageMaker toolkit":
        values |= {
            "SAGEMAKER_BASE_DIR": str(toolkit_folder(model, folder)),
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
            "SLIPWAY_BENCH_SETTINGS": str(folder / "ts.properties"),
            "TS_INFERENCE_ADDRESS": f"http://127.0.0.1:{port}",
            "TS_MANAGEMENT_ADDRESS": f"http://127.0.0.1:{port}",
            "TS_METRICS_ADDRESS": f"http://127.0.0.1:{metrics}",
            "TS_GRPC_INFERENCE_PORT": str(grpc),
            "TS_GRPC_MANAGEMENT_PORT": str(grpc_management),
        }
        return Launch([python, PROGRAMS / "toolkit_launch.py", "torchserve"], model.bodies, environment=values)
    store = _archived(python, folder, values)
    version = {
        "defaultVersion": True,
        "marName": "model",
        "minWorkers": 1,
        "maxWorkers": 1,
        "responseTimeout": 120,
        **VARIANTS[variant],
    }
    settings = {
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{port}",
        "metrics_address": f"http://127.0.0.1:{metrics}",
        "grpc_inference_port": grpc,
        "grpc_management_port": grpc_management,
        "default_workers_per_model": 1,
        "job_queue_size": 1000,
        "async_logging": "true",
        "disable_system_metrics": "true",
        "load_models": "model",
        "models": json.dumps({"model": {"1.0": version}}),
    }
    (folder / "ts.properties").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    command: list[str | Path] = [
        python.parent / "torchserve",
        "--start",
        "--foreground",
        "--ncs",
        "--disable-token-auth",
    ]
    command += ["--model-store", store, "--ts-config", folder / "ts.properties"]
    command += ["--log-config", _quiet_log(folder)]
    return Launch(command, model.bodies, "/predictions/model", values)


def _archived(python: Path, folder: Path, values: Mapping[str, str]) -> Path:
    store = folder / "store"
    store.mkdir()
    command: list[str | Path] = [python.parent / "torch-model-archiver", "--model-name", "model", "--version", "1.0"]
    command += ["--handler", PROGRAMS / "torchserve_app.py", "--extra-files", PROGRAMS / "lean.py"]
    command += ["--archive-format", "no-archive", "--export-path", store]
    done = subprocess.run(command, cwd=folder, env=dict(values), capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"torch-model-archiver fails: {done.stderr.strip()[-500:]}")
    return store


def _quiet_log(folder: Path) -> Path:
    """Its access and metrics logs cost a third of its speed: warnings alone are kept."""
    path = folder / "log4j2.xml"
    path.write_text(
        '<Configuration><Appenders><Console name="out"><PatternLayout pattern="%m%n"/></Console></Appenders>'
        '<Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>'
    )
    return path
