"""A `torch.nn.Module` of the project: made by a factory, weights from safetensors.

A pickle is never read: it can run code, and safetensors can hold any state dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build import factories
from model_build.errors import UserError

if TYPE_CHECKING:
    import torch

    from model_build.passes.base import Model
    from model_build.spec import PytorchSource as Config

KEY = "source.pytorch.factory"
SHOWN = 8
"""Names in a message before it says how many more there are."""


def open(config: Config, root: Path) -> Model:  # noqa: A001  # the contract of a source
    """The source as a model whose `load` makes the module, in eval mode."""
    from model_build.passes.base import Model

    weights = weight_files(config, root)
    return Model("pytorch", root, load=lambda: load_module(config.factory, config.args, weights, root))


def files(config: Config, root: Path) -> list[Path]:
    return sorted(set(weight_files(config, root).values()))


def weight_files(config: Config, root: Path) -> dict[str, Path]:
    """Submodule ('' for the whole) → its safetensors file."""
    from model_build.project_files import resolve

    if config.weights is None:
        return {}
    by_submodule = {"": config.weights} if isinstance(config.weights, str) else config.weights
    return {submodule: resolve(path, root) for submodule, path in by_submodule.items()}


def load_module(factory: str, args: Mapping[str, Any], weights: Mapping[str, Path], root: Path) -> torch.nn.Module:
    """Calls the factory and loads the weights strictly. Raises UserError, naming every tensor that does not fit."""
    import torch

    with factories.opened(root):
        module = factories.call(factory, args, root, KEY)
    if not isinstance(module, torch.nn.Module):
        raise UserError(
            f"{KEY}: {factory} returned {type(module).__name__}, not a torch.nn.Module", "let it return the module"
        )
    loaded: set[str] = set()
    for submodule, path in weights.items():
        loaded |= _load(module, submodule, path, root, factory)
    if weights:
        left = _tied(module.state_dict(keep_vars=True), loaded)
        if left:
            raise UserError(
                f"source.pytorch.weights: no file holds {_listed(left)} of {factory}",
                "name a file for every submodule with weights",
            )
    return module.eval()


def _load(module: torch.nn.Module, submodule: str, path: Path, root: Path, factory: str) -> set[str]:
    """Loads one file into one submodule; returns the full names of what was loaded."""
    import torch
    from safetensors import SafetensorError, safe_open

    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    try:
        target = module.get_submodule(submodule)
    except AttributeError:
        known = ", ".join(name for name, _ in module.named_children())
        raise UserError(
            f"source.pytorch.weights: {factory} has no submodule '{submodule}'; it has: {known or 'none'}"
        ) from None
    state = target.state_dict(keep_vars=True)
    try:
        with safe_open(str(path), framework="pt") as stored, torch.no_grad():
            names = set(stored.keys())
            problems = [
                f"{name}: shape {found} in the file, {wanted} in the model"
                for name in sorted(names & set(state))
                if (found := tuple(stored.get_slice(name).get_shape())) != (wanted := tuple(state[name].shape))
            ]
            if missing := _tied(state, names):
                problems.append(f"not in the file: {_listed(missing)}")
            if unexpected := sorted(names - set(state)):
                problems.append(f"not in the model: {_listed(unexpected)}")
            if problems:
                where = f"{factory}, submodule '{submodule}'" if submodule else factory
                raise UserError(
                    f"{shown}: does not fit {where}:\n  " + "\n  ".join(problems),
                    "save the weights again from this model, or mend the factory's args",
                )
            for name in names:
                state[name].copy_(stored.get_tensor(name))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{shown}: is not a readable safetensors file: {error}", "save it again") from error
    prefix = f"{submodule}." if submodule else ""
    return {prefix + name for name in names}


def _tied(state: Mapping[str, torch.Tensor], loaded: set[str]) -> list[str]:
    """What was not loaded, without tensors that share their memory with a loaded one, as tied weights do."""
    memory = {state[name].data_ptr() for name in loaded if name in state}
    return sorted(name for name in state if name not in loaded and state[name].data_ptr() not in memory)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
