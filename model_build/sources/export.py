"""Writes a source's state dict in any of the formats that a source can be read from: a model can also leave the tool.

Apart from `state`, which reads them. Pickle and joblib hold NumPy arrays here, so that reading them needs no PyTorch.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.sources import open_module

if TYPE_CHECKING:
    import torch

    from model_build.spec import Spec

PROTOCOL = 5
"""Of pickle: fixed, so that another Python writes the same bytes."""


def export(spec: Spec, root: Path, to: str, target: Path) -> tuple[int, int]:
    """Writes the state dict of the spec's source; returns its tensors and bytes. Raises UserError."""
    if spec.source.format != "pytorch":
        raise UserError(
            f"{spec.name}: its source ({spec.source.kind}) becomes ONNX, and has no state dict",
            f"take the ONNX file: slipway build {spec.name}, then model.onnx in build/{spec.name}/model.tar.gz",
        )
    if target.exists():
        raise UserError(f"{target}: exists already", "remove it, or name another file with -o")
    load = open_module(spec, root).load
    assert load is not None  # noqa: S101  # what the format means
    tensors = dict(_distinct(load()))
    if not tensors:
        raise UserError(f"{spec.name}: the source has no parameters and no buffers: there is nothing to export")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.partial")
        try:
            WRITERS[to](tensors, scratch)
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from error
    return len(tensors), target.stat().st_size


def _distinct(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The state dict, tied weights once: the loader finds the others by their memory."""
    seen: set[tuple[Any, ...]] = set()
    for name, tensor in module.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        yield name, tensor.detach().cpu().contiguous()


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """As NumPy arrays; what NumPy has no type for (bfloat16) as float32, which holds it exactly."""
    import torch

    plain = (torch.float16, torch.float32, torch.float64)
    return {
        name: (tensor.float() if tensor.is_floating_point() and tensor.dtype not in plain else tensor).numpy()
        for name, tensor in tensors.items()
    }


def _safetensors(tensors: Mapping[str, torch.Tensor], target: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.clone() for name, tensor in tensors.items()}, target)


def _hdf5(tensors: Mapping[str, torch.Tensor], target: Path) -> None:
    import h5py

    with h5py.File(target, "w") as stored:
        for name, array in _arrays(tensors).items():
            stored.create_dataset(name.replace(".", "/"), data=array)


def _pickle(tensors: Mapping[str, torch.Tensor], target: Path) -> None:
    target.write_bytes(pickle.dumps(_arrays(tensors), protocol=PROTOCOL))


def _joblib(tensors: Mapping[str, torch.Tensor], target: Path) -> None:
    import joblib

    joblib.dump(_arrays(tensors), target, protocol=PROTOCOL)


WRITERS: dict[str, Callable[[Mapping[str, torch.Tensor], Path], None]] = {
    "safetensors": _safetensors,
    "hdf5": _hdf5,
    "joblib": _joblib,
    "pickle": _pickle,
}
ENDINGS = {"safetensors": ".safetensors", "hdf5": ".h5", "joblib": ".joblib", "pickle": ".pkl"}
