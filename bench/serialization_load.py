"""One load of `bench.serialization`, in a process of its own: the file → a first prediction, told as JSON.

    python -m bench.serialization_load FORMAT FOLDER FACTORY STARTED

One thread, as in every measurement here. Pickle and joblib are read without restriction: the bench wrote them itself.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    form, folder, factory, started = sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    with np.load(folder / "example.npz", allow_pickle=False) as stored:
        batch = {name: stored[name] for name in stored.files}
    answer, load_ms = (_onnx if form == "onnx" else _torch)(form, folder / f"model.{form}", factory, batch)
    told = {
        "first_s": time.time() - started,
        "load_ms": load_ms,
        "peak_mib": _peak(),
        "answer": np.asarray(answer).ravel()[:8].tolist(),
    }
    print(json.dumps(told))


def _peak() -> float:
    """MiB. `getrusage` would give the parent's peak where that was higher: it outlives the exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _onnx(form: str, path: Path, factory: str, batch: dict[str, Any]) -> tuple[Any, float]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    began = time.perf_counter()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    load_ms = 1000 * (time.perf_counter() - began)
    return session.run(None, batch)[0], load_ms


def _torch(form: str, path: Path, factory: str, batch: dict[str, Any]) -> tuple[Any, float]:
    import torch

    torch.set_num_threads(1)
    if form == "torchscript":
        began = time.perf_counter()
        module: Any = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
        load_ms = 1000 * (time.perf_counter() - began)
    else:
        name, _, attribute = factory.partition(":")
        module = getattr(importlib.import_module(name), attribute)().eval()
        _read(form, path)  # imports what it needs; the file is in the page cache for every format
        began = time.perf_counter()
        module.load_state_dict(_read(form, path))
        load_ms = 1000 * (time.perf_counter() - began)
    with torch.inference_mode():
        return module(*(torch.from_numpy(value) for value in batch.values())).numpy(), load_ms


def _read(form: str, path: Path) -> dict[str, Any]:
    import torch

    if form == "safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if form == "hdf5":
        import h5py

        tensors: dict[str, Any] = {}

        def keep(name: str, one: Any) -> None:
            if isinstance(one, h5py.Dataset):
                tensors[name.replace("/", ".")] = torch.as_tensor(one[()])

        with h5py.File(path) as stored:
            stored.visititems(keep)
        return tensors
    if form == "joblib":
        import joblib

        arrays = joblib.load(path)
    else:
        arrays = pickle.loads(path.read_bytes())  # noqa: S301  # the bench wrote it
    return {name: torch.as_tensor(array) for name, array in arrays.items()}


if __name__ == "__main__":
    main()
