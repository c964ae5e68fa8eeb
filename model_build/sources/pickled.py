"""A file of `pickle` or `joblib`: a fitted scikit-learn estimator, which becomes ONNX, or a state dict of NumPy arrays.

Both can run code when they are read. So the spec must allow it, a process of its own without network reads the file
(`sandbox`), and only known classes are made from it (`allowlist`). What leaves that process is ONNX or safetensors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.sources import pytorch, sandbox, state
from model_build.sources.base import Wanted, shown
from model_build.sources.onnx import write_single_file

if TYPE_CHECKING:
    import torch

    from model_build.spec import PickledSource, Spec

LIBRARIES = ("joblib", "numpy", "onnx", "safetensors", "scikit-learn", "skl2onnx")


def files(spec: Spec, root: Path) -> list[Path]:
    from model_build.project_files import resolve

    return [resolve(_config(spec).path, root)]


def settings(spec: Spec, root: Path) -> dict[str, Any]:
    """Of a file that holds a state dict."""
    module = _config(spec).module
    assert module is not None  # noqa: S101  # without one the source becomes ONNX
    (path,) = files(spec, root)
    return {
        "reader": spec.source.kind,
        "path": str(path),
        "factory": module.factory,
        "args": module.args,
        "root": str(root),
    }


def load_module(reader: str, path: str, factory: str, args: Mapping[str, Any], root: str) -> torch.nn.Module:
    """The factory's module with the file's state dict, in eval mode. Raises UserError."""
    file = shown(Path(path), Path(root))
    module = pytorch.make(factory, args, Path(root), f"{reader}.module")
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        weights = Path(scratch) / sandbox.STATE
        sandbox.run({"do": "state", "reader": reader}, Path(path), file, Path(scratch))
        with state.opened(weights, file) as stored:
            state.load(module, stored, file, factory)
    return module.eval()


def write(spec: Spec, root: Path, target: Path, wanted: Wanted) -> None:
    """The estimator as ONNX, compared with the original on the evaluation samples and on made-up ones."""
    import numpy as np

    assert spec.tensor is not None  # noqa: S101  # rules hold that an estimator's task is tensor
    (path,) = files(spec, root)
    file = shown(path, root)
    ((name, given),) = spec.tensor.inputs.items()
    job = {
        "do": "estimator",
        "reader": spec.source.kind,
        "input": {"name": name, "dtype": given.dtype, "features": given.shape[0]},
        "outputs": list(wanted.outputs),
    }
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        batch = next(iter(wanted.samples()), None)
        if batch is not None:
            np.save(Path(scratch) / sandbox.SAMPLES, batch[name], allow_pickle=False)
        answer = sandbox.run(job, path, file, Path(scratch))
        for note in answer["notes"]:
            wanted.note(note)
        model = Path(scratch) / sandbox.MODEL
        if not model.is_file():
            raise UserError(f"{file}: its process made no model", "report this, with the version of scikit-learn")
        write_single_file(model, target, wanted, file)


def _config(spec: Spec) -> PickledSource:
    config = spec.source.joblib or spec.source.pickle
    assert config is not None  # noqa: S101  # what this module is for
    return config
