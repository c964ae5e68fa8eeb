"""A `torch.nn.Module` of the project whose state dict lies in HDF5, one dataset for each tensor.

HDF5 holds data alone; what could reach another file (links, external or virtual data) is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.sources import pytorch

if TYPE_CHECKING:
    from model_build.spec import Spec

LIBRARIES = ("h5py", "torch")

load_module = pytorch.load_module


def files(spec: Spec, root: Path) -> list[Path]:
    from model_build.project_files import resolve

    assert spec.source.hdf5 is not None  # noqa: S101  # what this module is for
    return [resolve(spec.source.hdf5.path, root)]


def settings(spec: Spec, root: Path) -> dict[str, Any]:
    config = spec.source.hdf5
    assert config is not None  # noqa: S101  # what this module is for
    (path,) = files(spec, root)
    return {
        "factory": config.factory,
        "args": config.args,
        "weights": {"": str(path)},
        "root": str(root),
        "key": "hdf5",
    }
