"""A model that is ONNX already, checked for what the rest of the build stands on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.sources.base import Wanted, shown

if TYPE_CHECKING:
    from model_build.spec import Spec

LIBRARIES = ("onnx",)


def files(spec: Spec, root: Path) -> list[Path]:
    from model_build.project_files import EXTERNAL_DATA

    path = _path(spec, root)
    return [path] + [beside for suffix in EXTERNAL_DATA if (beside := path.with_name(path.name + suffix)).is_file()]


def write(spec: Spec, root: Path, target: Path, wanted: Wanted) -> None:
    path = _path(spec, root)
    write_single_file(path, target, wanted, shown(path, root))


def _path(spec: Spec, root: Path) -> Path:
    from model_build.project_files import resolve

    assert spec.source.onnx is not None  # noqa: S101  # what this module is for
    return resolve(spec.source.onnx.path, root)


def write_single_file(path: Path, target: Path, wanted: Wanted, file: str) -> None:
    """Writes the model as one file, weights included. Raises UserError where names or batch axis are not the task's.

    `file` is what messages call the model.
    """
    import onnx

    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf's, onnx's and the file system's errors have no common base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"source.onnx: {file} is not a valid ONNX model: {reason}", "export it again") from error
    weights = {tensor.name for tensor in proto.graph.initializer}
    given: dict[str, Any] = {value.name: value for value in proto.graph.input if value.name not in weights}
    made = [value.name for value in proto.graph.output]
    if set(given) != set(wanted.inputs) or not set(wanted.outputs) <= set(made):
        raise UserError(
            f"source.onnx: {file} has the inputs {', '.join(given)} and the outputs {', '.join(made)}; "
            f"the task needs {', '.join(wanted.inputs)} and {', '.join(wanted.outputs)}",
            "export it with these names",
        )
    for name, value in given.items():
        shape = value.type.tensor_type.shape.dim
        if shape and shape[0].HasField("dim_value"):
            raise UserError(
                f"source.onnx: {file}: the first axis of '{name}' is fixed to {shape[0].dim_value}; "
                "it must be the batch, of any length",
                "export it with a dynamic first axis",
            )
    target.write_bytes(proto.SerializeToString(deterministic=True))
