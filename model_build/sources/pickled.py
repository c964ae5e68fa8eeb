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

    (path,) = files(spec, root)
    file = shown(path, root)
    job = {
        "do": "estimator",
        "reader": spec.source.kind,
        "input": given(spec),
        "outputs": list(wanted.outputs),
    }
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        batch = next(iter(wanted.samples()), None)
        if batch is not None:
            np.savez(Path(scratch) / sandbox.SAMPLES, allow_pickle=False, **batch)
        answer = sandbox.run(job, path, file, Path(scratch))
        for note in answer["notes"]:
            wanted.note(note)
        model = Path(scratch) / sandbox.MODEL
        if not model.is_file():
            raise UserError(f"{file}: its process made no model", "report this, with the version of scikit-learn")
        write_single_file(model, target, wanted, file)


def given(spec: Spec) -> dict[str, Any]:
    """What an estimator is told of its inputs: the one matrix of `features` columns, or each column of a table."""
    if spec.tensor:
        ((name, one),) = spec.tensor.inputs.items()
        return {"where": f"tensor.inputs.{name}", "name": name, "dtype": one.dtype, "features": one.shape[0]}
    assert spec.tabular is not None  # noqa: S101  # rules hold that an estimator's task is tensor or tabular
    columns = spec.tabular.model_dump(mode="json")["columns"]
    told = {"where": "tabular.columns", "features": len(columns), "labels": list(spec.labels)}
    if spec.tabular.inputs == "columns":
        return told | {"columns": columns}
    return told | {"name": "features", "dtype": "float32"}


def _config(spec: Spec) -> PickledSource:
    config = spec.source.joblib or spec.source.pickle
    assert config is not None  # noqa: S101  # what this module is for
    return config
