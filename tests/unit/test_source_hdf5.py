"""State dicts in HDF5: what is read, and what could leave the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_build.errors import UserError
from model_build.sources import hdf5, open_module
from model_build.spec import Spec

CODE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
"""
STATE = {
    "0/weight": np.arange(12, dtype=np.float32).reshape(4, 3),
    "0/bias": np.ones(4, np.float16),
    "1.weight": np.full(4, 2.0),
    "1.bias": np.zeros(4, np.float32),
    "1/running_mean": np.ones(4, np.float32),
    "1/running_var": np.ones(4, np.float32),
    "1/num_batches_tracked": np.int64(7),
}
SPEC = Spec.model_validate(
    {
        "name": "m",
        "task": "tensor",
        "tensor": {"inputs": {"x": {"shape": [3]}}},
        "source": {"hdf5": {"factory": "hdf5_factory:build", "path": "w.h5"}},
    }
)


def written(project: Path, state: dict[str, Any]) -> Path:
    import h5py

    (project / "hdf5_factory.py").write_text(CODE)
    with h5py.File(project / "w.h5", "w") as stored:
        for name, value in state.items():
            stored[name] = value
    return project


def load(project: Path) -> Any:
    load = open_module(SPEC, project).load
    assert load is not None
    return load()


def test_datasets_are_tensors_and_groups_stand_for_dots(tmp_path: Path) -> None:
    module = load(written(tmp_path, STATE))
    np.testing.assert_array_equal(module[0].weight.detach().numpy(), STATE["0/weight"])
    assert module[1].num_batches_tracked.item() == 7
    assert bool((module[1].weight == 2).all()) and not module.training
    assert hdf5.files(SPEC, tmp_path) == [tmp_path / "w.h5"]


def test_what_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    state = {name: value for name, value in STATE.items() if name != "0/bias"} | {"0/weight": np.ones((2, 3)), "x": [1]}
    with pytest.raises(UserError) as caught:
        load(written(tmp_path, state))
    assert caught.value.message.splitlines() == [
        "w.h5: does not fit hdf5_factory:build:",
        "  0.weight: shape (2, 3) in the file, (4, 3) in the model",
        "  not in the file: 0.bias",
        "  not in the model: x",
    ]


def test_a_link_out_of_the_file_is_refused(tmp_path: Path) -> None:
    import h5py

    written(tmp_path, STATE | {"secret": [1.0]})
    (tmp_path / "w.h5").rename(tmp_path / "other.h5")
    written(tmp_path, {"0/weight": h5py.ExternalLink("other.h5", "secret")})
    with pytest.raises(UserError, match=r"w\.h5: '0\.weight' is a link, which could leave the file"):
        load(tmp_path)


def test_data_that_lie_in_another_file_are_refused(tmp_path: Path) -> None:
    import h5py

    written(tmp_path, {})
    (tmp_path / "raw").write_bytes(bytes(64))
    with h5py.File(tmp_path / "w.h5", "w") as stored:
        stored.create_dataset("x", shape=(4,), dtype="f4", external=[(str(tmp_path / "raw"), 0, 16)])
    with pytest.raises(UserError, match="the data of 'x' lie in another file"):
        load(tmp_path)
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "raw.h5"), "x", shape=(4,))
    with h5py.File(tmp_path / "w.h5", "w") as stored:
        stored.create_virtual_dataset("x", layout)
    with pytest.raises(UserError, match="the data of 'x' lie in another file"):
        load(tmp_path)


def test_what_is_not_numbers_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'x' holds object, not numbers"):
        load(written(tmp_path, {"x": "text"}))


def test_a_file_that_is_not_hdf5_is_told(tmp_path: Path) -> None:
    written(tmp_path, {})
    (tmp_path / "w.h5").write_bytes(b"not HDF5")
    with pytest.raises(UserError, match=r"w\.h5: is not a readable HDF5 file"):
        load(tmp_path)


def test_a_factory_that_returns_no_module_is_told_with_its_key(tmp_path: Path) -> None:
    written(tmp_path, STATE)
    (tmp_path / "hdf5_factory.py").write_text("def build():\n    return 1\n")
    with pytest.raises(UserError, match=r"source\.hdf5\.factory: hdf5_factory:build returned int"):
        load(tmp_path)
