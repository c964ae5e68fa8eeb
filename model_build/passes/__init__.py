"""Every pass, by the name that a spec uses: pass name = module = YAML value = test file.

Importing a pass imports nothing heavy: torch, onnx and onnxruntime are imported by its `run`.
"""

from __future__ import annotations

from typing import cast

from model_build.passes import export_onnx, quantize_dynamic, quantize_static
from model_build.passes.base import Pass

PASSES: dict[str, Pass] = {
    "export_onnx": cast(Pass, export_onnx),
    "quantize_dynamic": cast(Pass, quantize_dynamic),
    "quantize_static": cast(Pass, quantize_static),
}
