"""A `torch.nn.Module` of the project: made by a factory, weights from safetensors, or from a state dict of PyTorch's.

Safetensors is the first choice: it cannot hold code, and is read without copying. A `.pt` or `.pth` file is a pickle;
it is read with `weights_only`, which makes nothing but tensors of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build import factories
from model_build.errors import UserError
from model_build.sources import state
from model_build.sources.base import listed, shown

if TYPE_CHECKING:
    import torch

    from model_build.spec import PytorchSource, Spec

LIBRARIES = ("safetensors", "torch")


def files(spec: Spec, root: Path) -> list[Path]:
    assert spec.source.pytorch is not None  # noqa: S101  # what this module is for
    return sorted(set(weight_files(spec.source.pytorch, root).values()))


def settings(spec: Spec, root: Path) -> dict[str, Any]:
    config = spec.source.pytorch
    assert config is not None  # noqa: S101  # what this module is for
    weights = {submodule: str(path) for submodule, path in weight_files(config, root).items()}
    return {"factory": config.factory, "args": config.args, "weights": weights, "root": str(root)}


def weight_files(config: PytorchSource, root: Path) -> dict[str, Path]:
    """Submodule ('' for the whole) → its file."""
    from model_build.project_files import resolve

    if config.weights is None:
        return {}
    by_submodule = {"": config.weights} if isinstance(config.weights, str) else config.weights
    return {submodule: resolve(path, root) for submodule, path in by_submodule.items()}


def load_module(
    factory: str, args: Mapping[str, Any], weights: Mapping[str, Path | str], root: Path | str, key: str = "pytorch"
) -> torch.nn.Module:
    """Calls the factory and loads the weights strictly. Raises UserError, naming every tensor that does not fit.

    `key` is that of the factory within `source`, for the message.
    """
    root = Path(root)
    module = make(factory, args, root, key)
    loaded: set[str] = set()
    for submodule, path in weights.items():
        loaded |= _load(module, submodule, Path(path), root, factory)
    if weights:
        left = state.not_loaded(module.state_dict(keep_vars=True), loaded)
        if left:
            raise UserError(
                f"source.pytorch.weights: no file holds {listed(left)} of {factory}",
                "name a file for every submodule with weights",
            )
    return module.eval()


def make(factory: str, args: Mapping[str, Any], root: Path, key: str) -> torch.nn.Module:
    """What the factory returns. Raises UserError where that is no module."""
    import torch

    at = f"source.{key}.factory"
    with factories.opened(root):
        module = factories.call(factory, args, root, at)
    if not isinstance(module, torch.nn.Module):
        raise UserError(
            f"{at}: {factory} returned {type(module).__name__}, not a torch.nn.Module", "let it return the module"
        )
    return module


def _load(module: torch.nn.Module, submodule: str, path: Path, root: Path, factory: str) -> set[str]:
    """Loads one file into one submodule; returns the full names of what was loaded."""
    file = shown(path, root)
    try:
        target = module.get_submodule(submodule)
    except AttributeError:
        known = ", ".join(name for name, _ in module.named_children())
        raise UserError(
            f"source.pytorch.weights: {factory} has no submodule '{submodule}'; it has: {known or 'none'}"
        ) from None
    with state.opened(path, file) as stored:
        names = state.load(target, stored, file, f"{factory}, submodule '{submodule}'" if submodule else factory)
    prefix = f"{submodule}." if submodule else ""
    return {prefix + name for name in names}
