"""Every pass, by the name that a spec uses: pass name = module = YAML value = test file.

Importing a pass imports nothing heavy: torch, onnx and onnxruntime are imported by its `run`.
"""

from __future__ import annotations

from typing import cast

from model_build.passes import (
    convert_litert,
    distill,
    drop_layers,
    export_onnx,
    float16,
    optimize_graph,
    prune_channels,
    prune_weights,
    quantize_aware,
    quantize_dynamic,
    quantize_static,
    weight_only,
)
from model_build.passes.base import Pass

PASSES: dict[str, Pass] = {
    "convert_litert": cast(Pass, convert_litert),
    "distill": cast(Pass, distill),
    "drop_layers": cast(Pass, drop_layers),
    "export_onnx": cast(Pass, export_onnx),
    "float16": cast(Pass, float16),
    "optimize_graph": cast(Pass, optimize_graph),
    "prune_channels": cast(Pass, prune_channels),
    "prune_weights": cast(Pass, prune_weights),
    "quantize_aware": cast(Pass, quantize_aware),
    "quantize_dynamic": cast(Pass, quantize_dynamic),
    "quantize_static": cast(Pass, quantize_static),
    "weight_only": cast(Pass, weight_only),
}
