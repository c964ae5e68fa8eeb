"""TorchScript: a traced and frozen program beside its weights, which libtorch runs in C++ without any Python.

A trace holds what the module did with one example: a branch that depends on the data is taken as it was then. That is
what the comparison on all evaluation samples is for. A module that cannot be traced is scripted.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.calling import parameter_names, select_outputs
from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model
from model_build.quiet import quiet

if TYPE_CHECKING:
    import torch

ENDING = ".pt"
STARTS_FROM: Mapping[Format, tuple[str, ...]] = {"pytorch": ()}
INSTEAD = (
    "TorchScript is made of PyTorch modules alone, and nothing turns a graph of ONNX back into one: run it as ONNX"
)
KIND = "torchscript"
NEEDS: Mapping[str, str] = {}
RUN_BY = {"PyTorch, libtorch": "torch"}
RUNS_HERE = True
GAINS = ("C++ and mobile programs that have libtorch run it; operators that no other format has stay as they are",)
LOSES = (
    "PyTorch has deprecated TorchScript, for torch.export",
    "branches on the data are those of the example it was traced with",
    "loading it runs the program in it: take it from people you trust",
)


def write(model: Model, context: Context, target: Path) -> None:
    import torch

    frozen = made(model, {name: torch.from_numpy(array) for name, array in context.example().items()}, context)
    with quiet():
        torch.jit.save(frozen, target)


def settings(path: Path, root: Path) -> dict[str, Any]:
    return {"path": str(path), "root": str(root)}


def made(model: Model, example: Mapping[str, torch.Tensor], context: Context) -> torch.jit.ScriptModule:
    """The source as a frozen program that takes the task's inputs by name, and gives its outputs. Raises UserError."""
    import torch

    assert model.load is not None  # noqa: S101  # what STARTS_FROM means
    module = model.load().eval()
    with quiet():
        program = module if isinstance(module, torch.jit.ScriptModule) else _traced(module, example, context)
        try:
            frozen: torch.jit.ScriptModule = torch.jit.freeze(program.eval())
            return frozen
        except RuntimeError:  # frozen already
            return program


def _traced(module: torch.nn.Module, example: Mapping[str, torch.Tensor], context: Context) -> torch.jit.ScriptModule:
    import torch

    # Those that train in C++ are the only ones who would need gradients.
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    try:
        program = torch.jit.trace(  # type: ignore[no-untyped-call]
            _named(module, tuple(example), context.output_names), tuple(example.values()), check_trace=False
        )
    except UserError:
        raise
    except Exception as traced:  # whatever tracing meets in the user's code
        try:
            program = torch.jit.script(module)
        except Exception as error:
            raise UserError(
                f"{type(module).__name__} can be neither traced nor scripted: {_first_line(traced)}; "
                f"{_first_line(error)}",
                "let forward take tensors and return tensors",
            ) from error
    assert isinstance(program, torch.jit.ScriptModule)  # noqa: S101  # a module gives a module
    return program


def _named(module: torch.nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> torch.nn.Module:
    """The module with the task's inputs in their order, and a tensor or a tuple of them as its result."""
    import torch

    parameters = parameter_names(module, inputs)

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *given: torch.Tensor) -> Any:
            result = self.module(**{parameters[name]: tensor for name, tensor in zip(inputs, given, strict=True)})
            selected = select_outputs(result, outputs)
            return selected[0] if len(selected) == 1 else selected

    kind = inspect.Parameter
    signature = [kind("self", kind.POSITIONAL_ONLY), *(kind(name, kind.POSITIONAL_OR_KEYWORD) for name in inputs)]
    Named.forward.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]  # which names the inputs
    return Named().eval()


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
