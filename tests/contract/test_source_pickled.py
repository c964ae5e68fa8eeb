"""Pickled files in the process that reads them: what it may not do, its limits, and what comes out of it."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx_models
import pytest

from model_build.errors import UserError
from model_build.sources import open_module, pickled, sandbox
from model_build.sources.base import Wanted
from model_build.spec import Spec

pytestmark = pytest.mark.contract

X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def spec(reader: str, file: str, **source: Any) -> Spec:
    return Spec.model_validate(
        {
            "name": "m",
            "task": "tensor",
            "tensor": {"inputs": {"x": {"shape": [4]}}, "outputs": ["logits"]},
            "source": {reader: {"path": file, "allow_code": True, **source}},
        }
    )


def write(project: Path, reader: str, file: str, notes: list[str]) -> Path:
    wanted = Wanted(("x",), ("logits",), samples=lambda: iter([{"x": X}]), note=notes.append)
    pickled.write(spec(reader, file), project, project / "m.onnx", wanted)
    return project / "m.onnx"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.ensemble import RandomForestClassifier

    folder = tmp_path_factory.mktemp("pickled")
    forest = RandomForestClassifier(10, random_state=0).fit(X, Y)
    (folder / "m.pkl").write_bytes(pickle.dumps(forest))
    joblib.dump(forest, folder / "m.joblib", compress=3)
    return folder


def test_an_estimator_leaves_as_the_same_onnx_whatever_wrote_it(project: Path) -> None:
    notes: list[str] = []
    first = write(project, "pickle", "m.pkl", notes).read_bytes()
    assert write(project, "joblib", "m.joblib", notes).read_bytes() == first
    wanted = pickle.loads((project / "m.pkl").read_bytes()).predict_proba(X)
    np.testing.assert_allclose(onnx_models.run(project / "m.onnx", X), wanted, atol=1e-5)
    assert notes[0].startswith("read the pickle file in a process with no ")
    assert notes[1].endswith("on 456 evaluation samples and made-up ones")


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("reader", ["pickle", "joblib"])
def test_a_malicious_file_is_refused_by_what_it_names(tmp_path: Path, reader: str) -> None:
    {"pickle": _pickle, "joblib": joblib.dump}[reader](Evil(tmp_path / "ran"), tmp_path / "evil")
    with pytest.raises(UserError, match=rf"evil: holds {os.name}\.system, which is refused") as caught:
        write(tmp_path, reader, "evil", [])
    assert "source.onnx" in caught.value.next_step
    assert not (tmp_path / "ran").exists() and not (tmp_path / "m.onnx").exists()


def _pickle(value: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a pickle file: EOFError"),
        (b"not a pickle", "cannot be read as a pickle file"),
        (pickle.dumps({"weight": np.ones(3)}), "holds dict, not an estimator of scikit-learn"),
        (b"\x8c" + b"x" * 8 + b".", "cannot be read as a pickle file"),
    ],
)
def test_a_file_that_is_no_estimator_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.pkl: {message}"):
        write(tmp_path, "pickle", "x.pkl", [])


def test_a_file_that_takes_too_much_memory_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MEMORY_BYTES", 256 << 20)
    # bytearray(1 << 40), which nothing but the limit forbids
    (tmp_path / "x.pkl").write_bytes(b"cbuiltins\nbytearray\n(" + pickle.dumps(1 << 40, protocol=2)[2:-1] + b"tR.")
    with pytest.raises(UserError, match=r"x\.pkl: takes more memory than it may"):
        write(tmp_path, "pickle", "x.pkl", [])


def test_a_file_that_takes_too_much_time_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PROCESSOR_SECONDS", 1)
    monkeypatch.setattr(sandbox, "MEMORY_BYTES", 1 << 40)
    # Counter(bytes(1 << 34)): minutes of counting zeros, which take no memory
    zeros = b"cbuiltins\nbytes\n(" + pickle.dumps(1 << 34, protocol=2)[2:-1] + b"tR"
    (tmp_path / "x.pkl").write_bytes(b"ccollections\nCounter\n(" + zeros + b"tR.")
    with pytest.raises(UserError, match=r"x\.pkl: the process that reads it was killed by signal (24|9)"):
        write(tmp_path, "pickle", "x.pkl", [])


CONFINED = """
import os, socket, subprocess, sys
from pathlib import Path
from model_build.sources import confinement

apart = confinement.leave_network()
confinement.limit(1 << 30, 30, 1 << 20)
confinement.forbid(Path.cwd())
Path("inside").write_text("fine")
tries = {
    "connect": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5),
    "resolve": lambda: socket.getaddrinfo("localhost", 80),
    "system": lambda: os.system("true"),
    "spawn": lambda: subprocess.run(["true"]),
    "fork": os.fork,
    "write": lambda: Path("../outside").write_text("no"),
    "remove": lambda: os.remove("../kept"),
    "climb": lambda: os.open("../outside", os.O_WRONLY | os.O_CREAT),
}
for name, what in tries.items():
    try:
        what()
        print(name, "WORKED")
    except PermissionError as error:
        print(name, "refused")
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
native = libc.socket(2, 1, 0)
address = (2).to_bytes(2, sys.byteorder) + int(sys.argv[1]).to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
print("native connects" if native >= 0 and libc.connect(native, address, 16) == 0 else "native is cut off", apart)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_the_process_cannot_connect_start_programs_or_write_elsewhere(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "kept").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = subprocess.run(
            [sys.executable, "-c", CONFINED, str(server.getsockname()[1])],
            cwd=scratch,
            env=sandbox._environment(scratch),
            capture_output=True,
            text=True,
            check=True,
        )
    *tries, native = result.stdout.splitlines()
    assert [line for line in tries if not line.endswith("refused")] == []
    assert len(tries) == 8
    # Where the kernel grants a namespace of its own, code that Python knows nothing of is cut off too.
    assert native in ("native is cut off True", "native connects False")
    assert (tmp_path / "kept").exists() and not (tmp_path / "outside").exists()
    assert (scratch / "inside").read_text() == "fine"


def test_the_process_gets_no_secret_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "secret" not in sandbox._environment(tmp_path).values()


CODE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Linear(4, 2)
"""


@pytest.mark.parametrize("reader", ["pickle", "joblib"])
def test_a_state_dict_is_loaded_into_its_module(tmp_path: Path, reader: str) -> None:
    (tmp_path / "pickled_factory.py").write_text(CODE)
    state = {"weight": np.arange(8, dtype=np.float32).reshape(4, 2).T, "bias": np.ones(2)}
    {"pickle": _pickle, "joblib": joblib.dump}[reader](state, tmp_path / "w")
    one = spec(reader, "w", module={"factory": "pickled_factory:build"})
    load = open_module(one, tmp_path).load
    assert load is not None
    module: Any = load()
    np.testing.assert_array_equal(module.weight.detach().numpy(), state["weight"])
    assert not module.training


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": np.ones((3, 3)), "bias": np.ones(2)}, r"w: does not fit pickled_factory:build"),
        ({"weight": [1, 2]}, "w: is not a state dict of NumPy arrays: weight are no arrays of numbers"),
        ([1], "w: is not a state dict of NumPy arrays: it holds list"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_told(tmp_path: Path, state: Any, message: str) -> None:
    (tmp_path / "pickled_factory.py").write_text(CODE)
    _pickle(state, tmp_path / "w")
    load = open_module(spec("pickle", "w", module={"factory": "pickled_factory:build"}), tmp_path).load
    assert load is not None
    with pytest.raises(UserError, match=message):
        load()


def test_tensors_of_torch_in_a_pickle_are_refused_by_name(tmp_path: Path) -> None:
    import torch

    (tmp_path / "pickled_factory.py").write_text(CODE)
    _pickle({"weight": torch.ones(2, 4)}, tmp_path / "w")
    load = open_module(spec("pickle", "w", module={"factory": "pickled_factory:build"}), tmp_path).load
    assert load is not None
    with pytest.raises(UserError, match=r"w: holds torch\._utils\._rebuild_tensor_v2, which is refused"):
        load()
