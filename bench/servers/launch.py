"""What a server's module gives to the benchmark: how it is started on a model, and how it is asked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

PROGRAMS = Path(__file__).parent / "programs"
JSON = "application/json"


class Unavailable(Exception):
    """A server or a tool that cannot be had on this machine: why, and what would help."""


@dataclass(frozen=True)
class Model:
    """An unpacked artifact with what clients send: each sample is the value of `inputs` in a request."""

    name: str
    artifact: Path
    samples: tuple[Any, ...]

    @property
    def bodies(self) -> tuple[str, ...]:
        return tuple(json.dumps({"inputs": sample}) for sample in self.samples)


@dataclass(frozen=True)
class Launch:
    """A command to start, and requests that it answers. `environment` is added to a clean one."""

    command: Sequence[str | Path]
    bodies: Sequence[str]
    path: str = "/invocations"
    environment: Mapping[str, str] = field(default_factory=dict)


class Server(Protocol):
    """A module of this folder."""

    @property
    def VARIANTS(self) -> Mapping[str, Mapping[str, Any]]:
        """Settings that are tried; the best of them stands for the server, in each column by itself."""

    @property
    def REQUIREMENTS(self) -> str | None:
        """Name of the set in `requirements/` that its environment is made of; None: this one."""

    @property
    def NEEDS(self) -> Sequence[str]:
        """Programs that must be on PATH."""

    @property
    def WARM_UP(self) -> float:
        """Seconds of load after which its speed no longer grows."""

    def launch(self, variant: str, model: Model, python: Path, folder: Path, port: int) -> Launch:
        """Prepares `folder`, which is new and empty, and tells how to start the server. Raises Unavailable."""


def environment(python: Path, model: Model, folder: Path, port: int, batch: int = 1) -> dict[str, str]:
    """What every program of `programs/` reads."""
    return {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(PROGRAMS),
        "SLIPWAY_BENCH_MODEL": str(model.artifact),
        "SLIPWAY_BENCH_PORT": str(port),
        "SLIPWAY_BENCH_BATCH": str(batch),
        "TMPDIR": str(folder),  # where the JVM servers keep the file that lets only one of them run
        "TEMP": str(folder),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def toolkit_folder(model: Model, folder: Path) -> Path:
    """A SageMaker base folder with the model unpacked and the leanest `code/inference.py` in place of its own."""
    target = folder / "base" / "model"
    shutil.copytree(model.artifact, target, ignore=shutil.ignore_patterns("code"))
    (target / "code").mkdir()
    shutil.copy(PROGRAMS / "toolkit_app.py", target / "code" / "inference.py")
    shutil.copy(PROGRAMS / "lean.py", target / "code")
    return target.parent
