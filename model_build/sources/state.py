"""State dicts in files: read tensor by tensor, and loaded strictly into a module. No reader runs code of the file.

Apart from `pytorch` because HDF5 and pickled sources load the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.sources.base import listed

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class State:
    """Tensors by name; `read` fetches one, so that a large file is never in memory as a whole."""

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], torch.Tensor]


def load(module: torch.nn.Module, state: State, file: str, into: str) -> set[str]:
    """Copies every tensor into the module; returns their names. Raises UserError with everything that does not fit.

    `file` and `into` name the two in the message. Tensors that share memory, as tied weights do, are needed once.
    """
    import torch

    own = module.state_dict(keep_vars=True)
    problems = [
        f"{name}: shape {found} in the file, {wanted} in the model"
        for name in sorted(state.shapes.keys() & own.keys())
        if (found := state.shapes[name]) != (wanted := tuple(own[name].shape))
    ]
    names = set(state.shapes)
    if missing := not_loaded(own, names):
        problems.append(f"not in the file: {listed(missing)}")
    if unexpected := sorted(names - set(own)):
        problems.append(f"not in the model: {listed(unexpected)}")
    if problems:
        raise UserError(
            f"{file}: does not fit {into}:\n  " + "\n  ".join(problems),
            "save the weights again from this model, or mend the factory's args",
        )
    with torch.no_grad():
        for name in names:
            own[name].copy_(state.read(name))
    return names


def not_loaded(own: Mapping[str, torch.Tensor], loaded: set[str]) -> list[str]:
    """What was not loaded, without tensors that share their memory with a loaded one, as tied weights do."""
    memory = {own[name].data_ptr() for name in loaded if name in own}
    return sorted(name for name in own if name not in loaded and own[name].data_ptr() not in memory)


@contextmanager
def opened(path: Path, file: str) -> Iterator[State]:
    """The state dict of a file, by its ending. Raises UserError where it is not one."""
    reader = {".pt": _torch, ".pth": _torch, ".h5": _hdf5, ".hdf5": _hdf5}.get(path.suffix, _safetensors)
    with reader(path, file) as state:
        yield state


@contextmanager
def _safetensors(path: Path, file: str) -> Iterator[State]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as stored:
            shapes = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
            yield State(shapes, stored.get_tensor)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: is not a readable safetensors file: {error}", "save it again") from error


@contextmanager
def _torch(path: Path, file: str) -> Iterator[State]:
    import pickle

    import torch

    from model_build.quiet import quiet

    try:
        with quiet():
            values = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        text = str(error)
        if "TorchScript" in text:
            raise UserError(
                f"{file}: is a TorchScript archive, not a state dict", "name it under source.torchscript.path"
            ) from error
        foreign = re.search(r"(?:GLOBAL|global) ([\w.]+\.\w+)", text)
        reason = f"it holds {foreign[1]}, and only tensors are read" if foreign else text.strip().partition("\n")[0]
        raise UserError(
            f"{file}: is not a state dict that can be read without running code: {reason}",
            "save the tensors alone: safetensors.torch.save_file(module.state_dict(), …)",
        ) from error
    if isinstance(values, Mapping) and isinstance(values.get("state_dict"), Mapping):
        values = values["state_dict"]
    tensors = values if isinstance(values, Mapping) else {}
    others = sorted(str(name) for name, value in tensors.items() if not isinstance(value, torch.Tensor))
    if not tensors or others:
        what = f"{listed(others)} are no tensors" if others else f"it holds {type(values).__name__}"
        raise UserError(f"{file}: is not a state dict: {what}", "save module.state_dict() alone")
    yield State({name: tuple(tensor.shape) for name, tensor in tensors.items()}, tensors.__getitem__)


@contextmanager
def _hdf5(path: Path, file: str) -> Iterator[State]:
    """Datasets by their path, with dots for slashes. What points outside the file is refused, not followed."""
    import h5py
    import torch

    try:
        with h5py.File(path, "r") as stored:
            datasets = dict(_datasets(stored, "", file))
            yield State(
                {name: tuple(one.shape) for name, one in datasets.items()},
                lambda name: torch.as_tensor(datasets[name][()]),
            )
    except (OSError, RuntimeError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{file}: is not a readable HDF5 file: {reason}", "save it again") from error


def _datasets(group: Any, prefix: str, file: str) -> Iterator[tuple[str, Any]]:
    import h5py

    for key in group:
        name = f"{prefix}{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise UserError(f"{file}: '{name}' is a link, which could leave the file", "save the dataset itself")
        value = group[key]
        if isinstance(value, h5py.Group):
            yield from _datasets(value, f"{name}.", file)
        elif value.external or value.is_virtual:
            raise UserError(f"{file}: the data of '{name}' lie in another file", "save them in this one")
        elif value.dtype.kind not in "fiub":
            raise UserError(f"{file}: '{name}' holds {value.dtype}, not numbers", "save the state dict's tensors alone")
        else:
            yield name, value
