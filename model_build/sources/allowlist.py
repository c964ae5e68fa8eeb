"""What a pickled file may be made of: estimators of scikit-learn and what they consist of, arrays of NumPy, containers.

A pickle calls what it names. So nothing is looked up but classes that only hold data, and the few functions that put
arrays and trees together; names are compared, never searched for in what they could be reached through.
"""

from __future__ import annotations

import importlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

# module → names. NumPy 1 calls `numpy._core` `numpy.core`.
ALLOWED: dict[str, frozenset[str]] = {
    "builtins": frozenset(
        (
            *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range"),
            *("set", "slice", "str", "tuple"),
        )
    ),
    "collections": frozenset({"OrderedDict", "defaultdict", "Counter"}),
    "copyreg": frozenset({"_reconstructor"}),
    "numpy": frozenset(
        (
            *("ndarray", "dtype", "bool", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"),
            *("uint64", "float16", "float32", "float64", "complex64", "complex128", "str_", "bytes_", "object_"),
        )
    ),
    "numpy._core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy._core.numeric": frozenset({"_frombuffer"}),
    "numpy.ma": frozenset({"MaskedArray"}),
    "numpy.ma.core": frozenset({"_mareconstruct", "MaskedArray"}),
    "numpy.random._pickle": frozenset({"__randomstate_ctor", "__bit_generator_ctor", "__generator_ctor"}),
    "numpy.random._mt19937": frozenset({"MT19937"}),
    "numpy.random._pcg64": frozenset({"PCG64"}),
    "numpy.random.bit_generator": frozenset({"SeedSequence", "__pyx_unpickle_SeedSequence"}),
    "scipy.sparse._csr": frozenset({"csr_matrix", "csr_array"}),
    "scipy.sparse._csc": frozenset({"csc_matrix", "csc_array"}),
    "scipy.sparse._dia": frozenset({"dia_matrix", "dia_array"}),
    "sklearn.metrics._dist_metrics": frozenset({"newObj"}),
    "sklearn.metrics._scorer": frozenset({"_PassthroughScorer"}),
    "sklearn.neighbors._kd_tree": frozenset({"newObj"}),
    "sklearn.neighbors._ball_tree": frozenset({"newObj"}),
    "sklearn.feature_selection._univariate_selection": frozenset({"chi2", "f_classif", "f_regression"}),
}
PARTS = frozenset(
    f"sklearn.{module}"
    for module in (
        *("_loss._loss", "_loss.link", "_loss.loss", "calibration", "cluster._birch", "cluster._bisect_k_means"),
        *("ensemble._hist_gradient_boosting.predictor", "gaussian_process.kernels", "linear_model._sgd_fast"),
        *("metrics._dist_metrics", "neighbors._ball_tree", "neighbors._kd_tree"),
        *("model_selection._split", "neural_network._stochastic_optimizers", "tree._tree", "utils._bunch"),
    )
)
"""Modules of scikit-learn whose classes estimators consist of. Elsewhere in it, estimators alone are allowed."""

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # what protocols 0 to 2 call them
_ESTIMATORS = re.compile(r"sklearn(\.[a-z_]\w*)+")
_CLOSED = re.compile(r"\.(tests|externals|conftest|datasets|_testing|_mocking|_build_utils)\b")
_LOSSES = re.compile(r"__pyx_unpickle_Cy\w+")


class RefusedError(pickle.UnpicklingError):
    """The file names something that is not allowed."""


def find(module: str, name: str) -> Any:
    """What a pickle names, if that is allowed. Raises RefusedError."""
    known = re.sub(r"^numpy\.core\b", "numpy._core", _RENAMED.get(module, module))
    if (known, name) == ("_codecs", "encode"):
        return _encode
    if name in ALLOWED.get(known, ()):
        return getattr(importlib.import_module(known), name)
    if known == "sklearn._loss._loss" and _LOSSES.fullmatch(name):
        return getattr(importlib.import_module(known), name)
    if _ESTIMATORS.fullmatch(known) and not _CLOSED.search(known) and name.isidentifier():
        found = _attribute(known, name)
        if isinstance(found, type) and found.__module__.startswith("sklearn.") and _holds_data(known, found):
            return found
    raise RefusedError(f"{module}.{name}")


def _attribute(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _holds_data(module: str, found: type) -> bool:
    from sklearn.base import BaseEstimator

    return issubclass(found, BaseEstimator) or (module in PARTS and found.__module__ == module)


def _encode(text: str, encoding: str = "") -> bytes:
    """How old protocols write bytes: as text in Latin-1, and nothing else."""
    if encoding != "latin1" or not isinstance(text, str):
        raise RefusedError(f"_codecs.encode to {encoding!r}")
    return text.encode("latin1")


def read_pickle(path: Path) -> Any:
    """The object of a pickle. Raises RefusedError, or whatever a damaged file makes of `pickle`."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return find(module, name)

    with path.open("rb") as stream:
        return Unpickler(stream).load()


def read_joblib(path: Path) -> Any:
    """The object of a joblib file, compressed or not; arrays of objects within are restricted the same way."""
    from joblib import numpy_pickle, numpy_pickle_utils

    class Unpickler(numpy_pickle.NumpyUnpickler):  # type: ignore[misc]  # joblib is untyped
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
                return numpy_pickle.NumpyArrayWrapper  # stands for an array, whose bytes follow
            return find(module, name)

    with path.open("rb") as stream:
        opened: Any = numpy_pickle_utils._validate_fileobject_and_memmap(stream, str(path), None)
        with opened as (content, _):
            if isinstance(content, str):
                raise RefusedError("a file of joblib before 0.10, which names other files")
            return Unpickler(str(path), _binary(content), True).load()


def _binary(stream: Any) -> BinaryIO:
    return stream  # type: ignore[no-any-return]  # what joblib opened: the file, or one that decompresses it


READERS: dict[str, Callable[[Path], Any]] = {"pickle": read_pickle, "joblib": read_joblib}
