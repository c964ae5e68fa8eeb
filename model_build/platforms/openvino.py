"""OpenVINO: an XML graph beside its weights, for Intel's CPUs, GPUs and neural units, made of the ONNX model.

Kept in 32 bits. OpenVINO computes in bfloat16 where a CPU has it, unless it is told otherwise; here it is told, so that
what is compared is the conversion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model
from model_build.quiet import quiet

if TYPE_CHECKING:
    from model_build.passes.base import Array

ENDING = ".xml"
STARTS_FROM: Mapping[Format, tuple[str, ...]] = {"pytorch": ("export_onnx",), "onnx": ()}
INSTEAD = ""
KIND = "openvino"
NEEDS = {"openvino": "make platforms"}
RUN_BY = {"OpenVINO": "openvino"}
RUNS_HERE = True
GAINS = ("Intel's GPUs and neural units; float transformers on CPUs with bfloat16 or AMX",)
LOSES = (
    "two files, .xml and .bin, that belong together",
    "bfloat16 by default on CPUs that have it: INFERENCE_PRECISION_HINT f32 gives what was compared here",
    "small models and 8-bit ones of ours are slower than in ONNX Runtime (docs/adr/0002-openvino.md)",
)


def write(model: Model, context: Context, target: Path) -> None:
    with quiet():
        import openvino

    try:
        with quiet():
            # Not convert_model: where openvino-telemetry is installed, that reports its use without asking.
            graph = openvino.Core().read_model(model.path)
            openvino.save_model(graph, target, compress_to_fp16=False)
    except Exception as error:  # the library's exceptions share no other base
        raise UserError(f"OpenVINO cannot convert the ONNX model: {_reason(error)}", "run it as ONNX") from error


def settings(path: Path, root: Path) -> dict[str, Any]:
    return {"path": str(path)}


class Session:
    """Runs a converted model on the CPU, in 32 bits. Raises UserError for one that cannot be run."""

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        try:
            compiled = openvino.Core().compile_model(
                path,
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": threads,
                    "INFERENCE_PRECISION_HINT": "f32",
                },
            )
        except Exception as error:  # the library's exceptions share no other base
            raise UserError(f"OpenVINO cannot load {path.name}: {_reason(error)}") from error
        self._request = compiled.create_infer_request()

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """The named outputs, copies of what the next run overwrites."""
        self._request.infer(dict(feeds))
        return [self._request.get_tensor(name).data.copy() for name in names]


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The first lines say where in the library's own code it happened.
    return next((line for line in lines if not line.startswith(("Exception from", "Check '"))), type(error).__name__)
