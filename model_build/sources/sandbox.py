"""Starts the process that reads a pickled file, and tells what became of it.

The process (`sandbox_worker`) gets an environment without secrets, an empty folder to write into, no network, and
limits on memory, time and written bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_build.errors import UserError

SLIPWAY = Path(__file__).resolve().parents[2]
"""The folder that `python -m model_build.sources.sandbox_worker` is found in."""
STATE = "state.safetensors"
MODEL = "model.onnx"
SAMPLES = "samples.npz"
ANSWER = "answer.json"

SECONDS = 600
"""Of wall time, imports included."""
PROCESSOR_SECONDS = 300
MEMORY_BYTES = 4 << 30
"""Beside what the libraries take, and ten times the file."""


def run(job: Mapping[str, Any], path: Path, file: str, scratch: Path) -> dict[str, Any]:
    """Reads `path` in a process of its own, which writes its result into `scratch`. Raises UserError.

    `file` is what messages call the file.
    """
    size = path.stat().st_size
    request = {
        **job,
        "path": str(path.resolve()),
        "memory": MEMORY_BYTES + 10 * size,
        "seconds": PROCESSOR_SECONDS,
        "written": (1 << 30) + 10 * size,
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "model_build.sources.sandbox_worker"],
            input=json.dumps(request),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=scratch,
            env=_environment(scratch),
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{file}: could not be read within {SECONDS} seconds", "export it to ONNX yourself") from None
    answer = scratch / ANSWER
    if ended.returncode != 0 or not answer.is_file():
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        how = f"was killed by signal {-ended.returncode}" if ended.returncode < 0 else f"exited {ended.returncode}"
        raise UserError(
            f"{file}: the process that reads it {how}: {lines[-1].strip() if lines else 'no output'}",
            f"it may take {PROCESSOR_SECONDS} seconds of processor time and {request['memory'] >> 20:,} MiB; "
            "a larger model is better exported to ONNX where it was trained",
        )
    result: dict[str, Any] = json.loads(answer.read_bytes())
    if "error" in result:
        raise UserError(f"{file}: {result['error']}", result["next_step"])
    return result


def _environment(scratch: Path) -> dict[str, str]:
    """What Python needs to start, and nothing that the file could want to read."""
    kept = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SYSTEMROOT", "VIRTUAL_ENV")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = (str(SLIPWAY), os.environ.get("PYTHONPATH"))
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        **threads,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LOKY_MAX_CPU_COUNT": "1",  # else joblib starts a program to count the cores
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # the converter writes sets in their order, and bytes must not change
    }
