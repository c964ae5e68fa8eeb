"""A model that is ONNX already, checked for what the rest of the build stands on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError

if TYPE_CHECKING:
    from model_build.passes.base import Model
    from model_build.spec import OnnxSource as Config


def open(config: Config, root: Path) -> Model:  # noqa: A001  # the contract of a source
    from model_build.passes.base import Model
    from model_build.project_files import resolve

    path = resolve(config.path, root)
    return Model("onnx", path.parent, path.name)


def files(config: Config, root: Path) -> list[Path]:
    path = open(config, root).path
    return [path] + [
        beside for suffix in (".data", "_data") if (beside := path.with_name(path.name + suffix)).is_file()
    ]


def write_single_file(model: Model, target: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """Writes the model as one file, weights included. Raises UserError where names or batch axis are not the task's."""
    import onnx

    try:
        proto = onnx.load(model.path)
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf's, onnx's and the file system's errors have no common base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"source.onnx: {model.entry} is not a valid ONNX model: {reason}", "export it again") from error
    weights = {tensor.name for tensor in proto.graph.initializer}
    given: dict[str, Any] = {value.name: value for value in proto.graph.input if value.name not in weights}
    made = [value.name for value in proto.graph.output]
    if set(given) != set(inputs) or not set(outputs) <= set(made):
        raise UserError(
            f"source.onnx: {model.entry} has the inputs {', '.join(given)} and the outputs {', '.join(made)}; "
            f"the task needs {', '.join(inputs)} and {', '.join(outputs)}",
            "export it with these names",
        )
    for name, value in given.items():
        shape = value.type.tensor_type.shape.dim
        if shape and shape[0].HasField("dim_value"):
            raise UserError(
                f"source.onnx: {model.entry}: the first axis of '{name}' is fixed to {shape[0].dim_value}; "
                "it must be the batch, of any length",
                "export it with a dynamic first axis",
            )
    target.write_bytes(proto.SerializeToString(deterministic=True))
