"""This project's own server, `python -m serving`, on the artifact as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.servers.launch import Launch, Model

VARIANTS: Mapping[str, Mapping[str, str]] = {"default": {}, "batch 1": {"SLIPWAY_MAX_BATCH": "1"}}
REQUIREMENTS: str | None = None
NEEDS: tuple[str, ...] = ()
WARM_UP = 3.0


def launch(variant: str, model: Model, python: Path, folder: Path, port: int) -> Launch:
    command: list[str | Path] = [python, "-m", "serving", "--model-dir", model.artifact, "--port", str(port)]
    return Launch(command, model.bodies, environment={"TMPDIR": str(folder), **VARIANTS[variant]})
