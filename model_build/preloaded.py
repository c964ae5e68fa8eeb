"""Imports what passes on PyTorch models need, once: building processes are then forked from the one that did.

Starting PyTorch and its exporter is mostly importing: three thousand modules, three times as long as the export of a
small network. Nothing is imported that begins a thread, as ONNX Runtime does: a fork loses those.
"""

from __future__ import annotations

import gc
import importlib
import signal
from contextlib import suppress

MODULES = (
    "torch",
    "torch.export._trace",
    "torch.onnx._internal.exporter._core",
    "onnxscript.function_libs.torch_lib.ops",
    "onnx",
    "safetensors.torch",
    "model_build.build",
    "model_build.loading",
    "model_build.parallel",
)
"""Inner modules of PyTorch among them, which imports its exporter at the first export. One that another version does
not have is left out: what is needed instead is imported when it is."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C goes to all processes of a terminal; the first one decides
    # Modules live as long as the process: looking for garbage among them takes a fifth of the time, here and later.
    gc.disable()
    for name in MODULES:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    gc.enable()


main()
