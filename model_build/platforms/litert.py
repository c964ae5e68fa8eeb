"""LiteRT, formerly TensorFlow Lite: one file for Android, iOS and boards, of fixed shapes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_build.passes.base import Context, Format, Model

ENDING = ".tflite"
STARTS_FROM: Mapping[Format, tuple[str, ...]] = {"pytorch": ("convert_litert",)}
INSTEAD = "its converter reads PyTorch modules alone: name the module under source.pytorch"
KIND = "litert"
NEEDS = {"litert_torch": "make litert"}
RUN_BY = {"LiteRT": "ai-edge-litert"}
RUNS_HERE = True
GAINS = ("a few MB of runtime, on phones, boards and accelerators with a delegate",)
LOSES = (
    "shapes are fixed: one sample a run, and a text is padded to text.max_length, which it is paid by",
    "no axis of a tensor may be free",
)


def write(model: Model, context: Context, target: Path) -> None:
    shutil.copyfile(model.path, target)


def settings(path: Path, root: Path) -> dict[str, Any]:
    return {"path": str(path)}
