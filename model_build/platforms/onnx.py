"""ONNX: one file with the task's names and a free batch axis, for ONNX Runtime and whatever else reads the format."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_build.passes.base import Context, Format, Model

ENDING = ".onnx"
STARTS_FROM: Mapping[Format, tuple[str, ...]] = {"pytorch": ("export_onnx",), "onnx": ()}
INSTEAD = ""
KIND = "onnx"
NEEDS: Mapping[str, str] = {}
RUN_BY = {"ONNX Runtime": "onnxruntime"}
RUNS_HERE = True
GAINS = ("runs without Python and PyTorch, on servers, phones and in browsers; every other pass of Slipway takes it",)
LOSES = ("nothing can be trained on; operators of newer sets need newer runtimes",)


def write(model: Model, context: Context, target: Path) -> None:
    shutil.copyfile(model.path, target)


def settings(path: Path, root: Path) -> dict[str, Any]:
    return {"path": str(path)}
