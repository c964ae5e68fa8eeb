"""Core ML: a package for Apple's systems, macOS 13 and iOS 16 or newer, in 32 bits and of fixed shapes.

Core ML itself runs on Apple's systems alone. What is compared here is the program in the package, which `mil` evaluates
by the definitions of its operations: that shows what the conversion did, not how Core ML computes it, nor how fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model
from model_build.platforms.torchscript import made
from model_build.quiet import quiet

if TYPE_CHECKING:
    import torch

ENDING = ".mlpackage"
STARTS_FROM: Mapping[Format, tuple[str, ...]] = {"pytorch": ()}
INSTEAD = "coremltools reads PyTorch's modules, and ONNX no more: name the module under source.pytorch"
KIND = "coreml"
NEEDS = {"coremltools": "make platforms"}
RUN_BY: Mapping[str, str] = {"Core ML, on macOS 13 and iOS 16 or newer": ""}
RUNS_HERE = False
GAINS = ("runs inside of apps on Apple's devices, without any library of their own",)
LOSES = (
    "not run: needs macOS. Its program was evaluated here instead, operation by operation",
    "in 32 bits it runs on the CPU and GPU; Apple's neural unit computes in 16",
    "shapes are fixed: one sample a run, whole numbers of 32 bits, and a text is padded to text.max_length",
)


def write(model: Model, context: Context, target: Path) -> None:
    import numpy as np
    import torch

    example = _fixed(context)
    program = made(model, example, context)
    with quiet():
        import coremltools

        _supply_operators()
        kinds = {name: np.int32 if tensor.dtype == torch.int64 else np.float32 for name, tensor in example.items()}
        try:
            package = coremltools.convert(
                program,
                inputs=[
                    coremltools.TensorType(name=name, shape=tuple(tensor.shape), dtype=kinds[name])
                    for name, tensor in example.items()
                ],
                outputs=[coremltools.TensorType(name=name) for name in context.output_names],
                convert_to="mlprogram",
                compute_precision=coremltools.precision.FLOAT32,
                minimum_deployment_target=coremltools.target.iOS16,
                skip_model_load=True,
            )
        except Exception as error:  # whatever the converter meets in the user's code
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UserError(
                f"coremltools {coremltools.__version__} cannot convert the model: {reason[:300]}",
                "leave such operators out of forward, or convert to ONNX and run that on the device",
            ) from error
        package.save(str(target))


def settings(path: Path, root: Path) -> dict[str, Any]:
    return {"path": str(path)}


def _fixed(context: Context) -> dict[str, torch.Tensor]:
    """One example, with texts padded to their longest. Raises UserError where an axis may have any length."""
    import torch
    from torch.nn.functional import pad

    text = context.serving.text if context.serving else None
    example = {name: torch.from_numpy(array[:1]) for name, array in context.example().items()}
    if text:
        return {
            name: pad(one[:, : text.max_length], (0, text.max_length - one.shape[1])) for name, one in example.items()
        }
    free = sorted(name for name, axes in context.input_axes.items() if set(axes) - {0})
    if free:
        raise UserError(
            f"a Core ML package made here has fixed shapes, and {', '.join(free)} may have any length",
            "give the lengths in place of -1 under tensor.inputs",
        )
    return example


@cache
def _supply_operators() -> None:
    """What transformers' attention masks need of coremltools 9.0, and what it lacks or does wrongly."""
    import numpy as np
    from coremltools.converters.mil import Builder, register_torch_op

    def new_ones(context: Any, node: Any) -> None:
        size = context[node.inputs[1]]
        size = Builder.concat(values=size, axis=0) if isinstance(size, list) else size
        kind = context[node.inputs[2]]
        truth = kind is not None and kind.val == 11  # of PyTorch's types, bool
        if size.val is not None:
            ones: Any = np.ones(tuple(int(length) for length in np.ravel(size.val)), np.bool_ if truth else np.float32)
            context.add(Builder.const(val=ones, name=node.name))
        else:
            context.add(Builder.fill(shape=size, value=truth or 1.0, name=node.name))

    def to_int(context: Any, node: Any) -> None:
        given = context[node.inputs[0]]
        if given.val is not None:  # NumPy makes no number of an array any more, though it holds one alone
            context.add(Builder.const(val=np.int32(np.asarray(given.val).item()), name=node.name))
        else:
            alone = Builder.squeeze(x=given) if given.shape else given
            context.add(Builder.cast(x=alone, dtype="int32", name=node.name))

    register_torch_op(_func=new_ones, torch_alias=["new_ones"], override=True)
    register_torch_op(_func=to_int, torch_alias=["int"], override=True)
