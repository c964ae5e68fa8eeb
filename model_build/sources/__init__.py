"""Every kind of source, by the key that a spec uses. Joblib's and pickle's files are one kind with two readers.

A source becomes a live PyTorch module (`settings`, `load_module`) or an ONNX file (`write`): `Source.format` tells.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from model_build.passes.base import Model
from model_build.sources import federated, hdf5, huggingface, onnx, pickled, pytorch, torchscript

if TYPE_CHECKING:
    import torch

    from model_build.sources.base import Wanted
    from model_build.spec import Spec


class SourceKind(Protocol):
    """A module of this package. It has what its format needs: the two in the middle, or the last one."""

    LIBRARIES: tuple[str, ...]
    """Distributions whose version can change what is read."""

    def files(self, spec: Spec, root: Path) -> list[Path]:
        """The files that hold its weights; their size is the source's size. Empty where only the factory knows."""

    def settings(self, spec: Spec, root: Path) -> dict[str, Any]:
        """What `load_module` takes, as JSON can carry it: the measuring process loads the source too."""

    def load_module(self, **settings: Any) -> torch.nn.Module:
        """The module, in eval mode. Raises UserError."""

    def write(self, spec: Spec, root: Path, target: Path, wanted: Wanted) -> None:
        """Writes it as one ONNX file with the task's names. Raises UserError."""


SOURCES: dict[str, SourceKind] = {
    "pytorch": cast("SourceKind", pytorch),
    "torchscript": cast("SourceKind", torchscript),
    "onnx": cast("SourceKind", onnx),
    "huggingface": cast("SourceKind", huggingface),
    "hdf5": cast("SourceKind", hdf5),
    "joblib": cast("SourceKind", pickled),
    "pickle": cast("SourceKind", pickled),
    "federated": cast("SourceKind", federated),
}


def open_module(spec: Spec, root: Path, settings: dict[str, Any] | None = None) -> Model:
    """A source that is a PyTorch module as a model; nothing heavy happens before its `load`. Raises UserError.

    `settings` are those of a source that a build has trained; of any other the spec tells them.
    """
    kind = SOURCES[spec.source.kind]
    given = kind.settings(spec, root) if settings is None else settings
    return Model("pytorch", root, load=lambda: kind.load_module(**given))
