"""MLflow's scoring server, started as `mlflow models serve` does: uvicorn with its C parts and one worker."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.servers.launch import PROGRAMS, Launch, Model, Unavailable, environment

VARIANTS: Mapping[str, Mapping[str, Any]] = {"plain": {}}
REQUIREMENTS = "peers-mlflow"
NEEDS: tuple[str, ...] = ()
WARM_UP = 5.0


def launch(variant: str, model: Model, python: Path, folder: Path, port: int) -> Launch:
    values = environment(python, model, folder, port)
    saved = folder / "saved"
    save: list[str | Path] = [python, PROGRAMS / "mlflow_app.py", saved]
    done = subprocess.run(save, cwd=folder, env=values | {"HOME": str(folder)}, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"MLflow cannot save the model: {done.stderr.strip()[-500:]}")
    app = "mlflow.pyfunc.scoring_server.app:app"
    options = [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--no-access-log",
        "--log-level",
        "warning",
    ]
    bodies = [json.dumps({"inputs": [one] if isinstance(one, str) else one}) for one in model.samples]
    values |= {"__pyfunc_model_path__": str(saved), "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "60"}
    return Launch([python.parent / "uvicorn", *options, app], bodies, environment=values)
