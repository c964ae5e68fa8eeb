"""How a PyTorch module is called with named inputs, and what its result is called.

Apart because exporting and measuring must agree on it, and the measuring process imports nothing that it does not need.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model_build.errors import UserError


def parameter_names(module: Any, inputs: Iterable[str]) -> dict[str, str]:
    """Input name → name of the parameter of `module.forward` that takes it, in the order of the signature.

    By name where `forward` has all of the names, else by position. Raises UserError where it takes fewer.
    """
    inputs = tuple(inputs)
    known = _parameters(module)
    if set(inputs) <= set(known):
        return {name: name for name in known if name in inputs}
    if len(known) < len(inputs):
        raise UserError(
            f"{type(module).__name__}.forward takes {', '.join(known) or 'nothing'}; "
            f"the task gives {', '.join(inputs)}",
            f"let forward take the parameters {', '.join(inputs)}",
        )
    return dict(zip(inputs, known, strict=False))


def _parameters(module: Any) -> list[str]:
    schema = getattr(module.forward, "schema", None)  # TorchScript's, which has no Python signature
    if schema is not None:
        return [argument.name for argument in schema.arguments[1:]]  # the first one is the module itself
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, one in inspect.signature(module.forward).parameters.items() if one.kind in kinds]


def select_outputs(result: Any, names: Sequence[str]) -> tuple[Any, ...]:
    """The tensors of a module's result, one for each name: a tensor, a sequence, or a mapping by name or in order."""
    if isinstance(result, Mapping):
        values = (
            tuple(result[name] for name in names) if all(name in result for name in names) else tuple(result.values())
        )
    else:
        values = tuple(result) if isinstance(result, (tuple, list)) else (result,)
    if len(values) < len(names):
        raise UserError(f"the model returns {len(values)} outputs; the task names {len(names)}: {', '.join(names)}")
    return values[: len(names)]
