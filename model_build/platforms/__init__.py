"""Every platform that a source can be converted to, by the name that `slipway convert --to` takes.

Apart from `passes`, whose results an artifact may hold: what is made here is carried elsewhere, and measured here only
to say what that costs.
"""

from __future__ import annotations

from typing import cast

from model_build.platforms import coreml, litert, onnx, openvino, torchscript
from model_build.platforms.base import Platform

PLATFORMS: dict[str, Platform] = {
    "onnx": cast("Platform", onnx),
    "torchscript": cast("Platform", torchscript),
    "litert": cast("Platform", litert),
    "openvino": cast("Platform", openvino),
    "coreml": cast("Platform", coreml),
}
