"""What a pickled file may be made of. The malicious files that are written here must never run."""

from __future__ import annotations

import functools
import io
import os
import pickle
import subprocess
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from model_build.sources.allowlist import READERS, RefusedError, find, read_joblib, read_pickle

RAN = "/tmp/slipway-a-pickle-ran-code"


class Calls:
    """Pickles as a call of something."""

    def __init__(self, what: Any, *arguments: Any) -> None:
        self.call = (what, arguments)

    def __reduce__(self) -> Any:
        return self.call


def refused(path: Path, reader: str = "pickle") -> str:
    """What the reader says that it refuses."""
    with pytest.raises(RefusedError) as caught:
        READERS[reader](path)
    assert not Path(RAN).exists()
    return str(caught.value)


EVIL: list[tuple[Any, str]] = [
    (Calls(os.system, f"touch {RAN}"), f"{os.name}.system"),
    (Calls(eval, f"open({RAN!r}, 'w')"), "builtins.eval"),
    (Calls(exec, f"open({RAN!r}, 'w')"), "builtins.exec"),
    (Calls(getattr, "text", "upper"), "builtins.getattr"),
    (Calls(__import__, "os"), "builtins.__import__"),
    (Calls(open, RAN, "w"), "io.open"),
    (Calls(subprocess.Popen, ["touch", RAN]), "subprocess.Popen"),
    (Calls(functools.partial, os.system, f"touch {RAN}"), "functools.partial"),
    (Calls(np.load, RAN), "numpy.load"),
    (Calls(np.fromfile, RAN), "numpy.fromfile"),
    (Calls(np.memmap, RAN, mode := "uint8"), "numpy.memmap"),
    (Calls(np.lib.npyio.NpzFile, RAN), "numpy.lib.npyio.NpzFile"),
    (Calls(np.testing.measure, f"open({RAN!r}, 'w')"), "numpy.testing._private.utils.measure"),
    (Calls(joblib.load, RAN), "joblib.numpy_pickle.load"),
    (Calls(pickle.loads, b"N."), "_pickle.loads"),
]


@pytest.mark.parametrize(("evil", "named"), EVIL, ids=[named for _, named in EVIL])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_what_could_run_code_is_refused_by_its_name(tmp_path: Path, evil: Any, named: str, protocol: int) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"weights": [evil]}, protocol=protocol, fix_imports=False))
    said = refused(path)
    assert said.rpartition(".")[2] == named.rpartition(".")[2]
    assert said.partition(".")[0] == named.partition(".")[0]


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("lzma", 3)])
def test_joblib_is_restricted_as_pickle_is(tmp_path: Path, compress: Any) -> None:
    joblib.dump({"weights": Calls(os.system, f"touch {RAN}")}, tmp_path / "evil.joblib", compress=compress)
    assert refused(tmp_path / "evil.joblib", "joblib") == f"{os.name}.system"


def test_objects_within_an_array_are_restricted_too(tmp_path: Path) -> None:
    evil = np.array([1, Calls(os.system, f"touch {RAN}")], dtype=object)
    joblib.dump({"array": evil}, tmp_path / "evil.joblib")
    assert refused(tmp_path / "evil.joblib", "joblib") == f"{os.name}.system"
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(evil))
    assert refused(tmp_path / "evil.pkl") == f"{os.name}.system"


def test_a_file_of_joblib_that_names_other_files_is_refused(tmp_path: Path) -> None:
    stream = zlib.compress(pickle.dumps([1]))
    (tmp_path / "old.joblib").write_bytes(b"ZF0x5".ljust(21) + stream)
    with pytest.raises(RefusedError, match=r"before 0\.10"), pytest.warns(DeprecationWarning):
        read_joblib(tmp_path / "old.joblib")
    with pytest.raises(RefusedError, match="NDArrayWrapper"):
        find("joblib.numpy_pickle_compat", "NDArrayWrapper")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.datasets", "fetch_openml"),
        ("sklearn.datasets", "load_files"),
        ("sklearn.utils", "Bunch"),  # allowed under its own module alone
        ("sklearn.utils._testing", "TempMemmap"),
        ("sklearn.utils.parallel", "Parallel"),
        ("sklearn.base", "os"),
        ("sklearn.base", "clone"),
        ("sklearn.externals.joblib", "load"),
        ("sklearn.tree._tree", "__loader__"),
        ("sklearn.tree._classes", "DecisionTreeClassifier.fit"),
        ("sklearn.no_such_module", "Estimator"),
        ("sklearn", "clone"),
        ("numpy", "frompyfunc"),
        ("numpy._core.multiarray", "fromstring"),
        ("numpy.core.multiarray", "frombuffer"),
        ("torch.storage", "_load_from_bytes"),
        ("builtins", "type"),
        ("builtins", "map"),
        ("operator", "attrgetter"),
        ("_codecs", "decode"),
        ("os", "system"),
    ],
)
def test_neighbours_of_what_is_allowed_are_refused(module: str, name: str) -> None:
    with pytest.raises(RefusedError, match=rf"^{module}\.{name}$"):
        find(module, name)


def test_a_refused_module_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_trap.py").write_text(f"open({RAN!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "x.pkl").write_bytes(b"ca_trap\nClass\n.")
    assert refused(tmp_path / "x.pkl") == "a_trap.Class"


def test_bytes_of_old_protocols_are_read_and_other_codecs_are_not(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(b"\xff\x00", protocol=2))
    assert read_pickle(tmp_path / "x.pkl") == b"\xff\x00"
    with pytest.raises(RefusedError, match=r"_codecs\.encode to 'zlib'"):
        find("_codecs", "encode")("text", "zlib")


STATE = OrderedDict(
    weight=np.arange(6, dtype=np.float32).reshape(2, 3),
    transposed=np.arange(6.0).reshape(2, 3).T,
    scalar=np.float64(2.5),
    empty=np.zeros((0, 3), np.int64),
)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_state_dict_of_arrays_is_read_by_either(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(STATE, protocol=protocol))
    joblib.dump(STATE, tmp_path / "x.joblib", protocol=protocol)
    for read in (read_pickle(tmp_path / "x.pkl"), read_joblib(tmp_path / "x.joblib")):
        assert list(read) == list(STATE)
        assert all(np.array_equal(read[name], STATE[name]) and read[name].dtype == STATE[name].dtype for name in STATE)


def fitted() -> list[Any]:
    from sklearn import ensemble, gaussian_process, linear_model, naive_bayes, neighbors, neural_network, svm, tree
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    y = np.arange(60) % 3
    return [
        one.fit(x, y)
        for one in (
            linear_model.LogisticRegression(),
            linear_model.SGDClassifier(random_state=np.random.RandomState(3)),
            tree.DecisionTreeClassifier(),
            ensemble.RandomForestClassifier(3),
            ensemble.GradientBoostingClassifier(n_estimators=2),
            ensemble.HistGradientBoostingClassifier(max_iter=2),
            neighbors.KNeighborsClassifier(algorithm="kd_tree"),
            neighbors.KNeighborsRegressor(algorithm="ball_tree"),
            svm.SVC(),
            naive_bayes.GaussianNB(),
            gaussian_process.GaussianProcessRegressor(gaussian_process.kernels.RBF(1.0, "fixed")),
            CalibratedClassifierCV(svm.LinearSVC()),
            GridSearchCV(linear_model.Ridge(), {"alpha": [0.1, 1.0]}),
            make_pipeline(StandardScaler(), neural_network.MLPClassifier(max_iter=500, random_state=0, tol=1e-2)),
            OneHotEncoder(handle_unknown="ignore"),
        )
    ]


def test_estimators_of_many_kinds_are_read(tmp_path: Path) -> None:
    for estimator in fitted():
        for protocol in (2, 5):
            (tmp_path / "x.pkl").write_bytes(pickle.dumps(estimator, protocol=protocol))
            assert type(read_pickle(tmp_path / "x.pkl")) is type(estimator)
        joblib.dump(estimator, tmp_path / "x.joblib", compress=3)
        assert type(read_joblib(tmp_path / "x.joblib")) is type(estimator)


def test_names_of_numpy_1_are_those_of_numpy_2(tmp_path: Path) -> None:
    buffer = io.BytesIO(pickle.dumps(np.ones(2), protocol=2).replace(b"numpy._core", b"numpy.core"))
    (tmp_path / "x.pkl").write_bytes(buffer.getvalue())
    assert np.array_equal(read_pickle(tmp_path / "x.pkl"), np.ones(2))
