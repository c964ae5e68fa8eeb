"""Reads one pickled file in a process of its own: `sandbox` starts it, with a request in JSON on its standard input.

It confines itself before the file is opened, and leaves ONNX or safetensors, and an answer in JSON, in its folder.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_build.errors import UserError
from model_build.sources import allowlist, confinement, estimators, tables
from model_build.sources.sandbox import ANSWER, MODEL, SAMPLES, STATE


def main() -> None:
    apart = confinement.leave_network()  # before any library starts threads
    request = json.loads(sys.stdin.read())
    scratch = Path.cwd()
    _import(request)
    confinement.limit(request["memory"], request["seconds"], request["written"])
    confinement.forbid(scratch)
    network = "no network (a namespace of its own)" if apart else "no sockets (this kernel grants no network namespace)"
    answer: dict[str, Any]
    try:
        answer = {"notes": [f"read the {request['reader']} file in a process with {network}", *_work(request, scratch)]}
    except UserError as error:
        answer = {"error": error.message, "next_step": error.next_step}
    (scratch / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _import(request: Mapping[str, Any]) -> None:
    """The libraries, while they may still look for their files and start threads."""
    import joblib  # noqa: F401
    import sklearn.base  # noqa: F401

    if request["do"] == "estimator":
        import onnxruntime  # noqa: F401
        import skl2onnx  # noqa: F401

        tables.import_frames()


def _work(request: Mapping[str, Any], scratch: Path) -> list[str]:
    value, notes = _read(request["reader"], Path(request["path"]))
    if request["do"] == "state":
        _write_state(value, scratch / STATE)
        return notes
    samples = scratch / SAMPLES
    return notes + estimators.convert(
        value, request["input"], request["outputs"], samples if samples.is_file() else None, scratch / MODEL
    )


def _read(reader: str, path: Path) -> tuple[Any, list[str]]:
    """The file's object, and what the reader warned of. Raises UserError."""
    import warnings

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = allowlist.READERS[reader](path)
    except allowlist.RefusedError as error:
        raise UserError(
            f"holds {error}, which is refused: only estimators of scikit-learn and arrays of NumPy are read",
            "if it is part of a model of yours, export that to ONNX where it was trained, and use source.onnx",
        ) from None
    except MemoryError:
        raise UserError("takes more memory than it may", "export it to ONNX where it was trained") from None
    except PermissionError as error:
        raise UserError(f"did what it must not: {error}", "do not use this file") from None
    except (Exception, zlib.error) as error:  # a damaged pickle may raise anything
        hint = f"another version than the installed {_versions()} may have written it" if _is_gone(error) else ""
        raise UserError(
            f"cannot be read as a {reader} file: {type(error).__name__}: {str(error).strip()[:300]}",
            hint or f"write it again with {reader}.dump",
        ) from error
    return value, sorted({str(one.message).split(". This might")[0] for one in caught if _matters(one.category)})


def _is_gone(error: BaseException) -> bool:
    return isinstance(error, (AttributeError, ImportError, ValueError, TypeError))


def _versions() -> str:
    from importlib.metadata import version

    return f"scikit-learn {version('scikit-learn')} and NumPy {version('numpy')}"


def _matters(category: type[Warning]) -> bool:
    from sklearn.exceptions import InconsistentVersionWarning

    return issubclass(category, InconsistentVersionWarning)


def _write_state(value: Any, target: Path) -> None:
    """A state dict as safetensors. Raises UserError where it is none."""
    import numpy as np
    from safetensors.numpy import save_file

    arrays = value if isinstance(value, Mapping) else {}
    others = sorted(
        str(name)
        for name, one in arrays.items()
        if not isinstance(name, str) or not isinstance(one, (np.ndarray, np.generic)) or one.dtype.kind not in "fiub"
    )
    if not arrays or others:
        what = f"{', '.join(others[:8])} are no arrays of numbers" if others else f"it holds {type(value).__name__}"
        raise UserError(
            f"is not a state dict of NumPy arrays: {what}",
            "save {name: tensor.numpy() for name, tensor in module.state_dict().items()}; "
            "for an estimator leave out source's `module`",
        )
    save_file({name: np.array(one, order="C") for name, one in arrays.items()}, target)


if __name__ == "__main__":
    main()
