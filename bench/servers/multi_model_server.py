"""AWS's multi-model-server, started by the SageMaker inference toolkit as its images do, with one worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.servers.launch import PROGRAMS, Launch, Model, environment, toolkit_folder

VARIANTS: Mapping[str, Mapping[str, Any]] = {"SageMaker toolkit": {}}
REQUIREMENTS = "peers-multi-model-server"
NEEDS = ("java",)
WARM_UP = 30.0


def launch(variant: str, model: Model, python: Path, folder: Path, port: int) -> Launch:
    values = environment(python, model, folder, port) | {
        "SAGEMAKER_BASE_DIR": str(toolkit_folder(model, folder)),
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SLIPWAY_BENCH_SETTINGS": str(folder / "mms.properties"),
    }
    return Launch([python, PROGRAMS / "toolkit_launch.py", "mms"], model.bodies, environment=values)
