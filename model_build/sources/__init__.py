"""Every kind of source, by the key that a spec uses: each module has `open(config, root) -> Model` and `files`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast

from model_build.passes.base import Model
from model_build.sources import onnx, pytorch


class SourceKind(Protocol):
    """A module of this package."""

    def open(self, config: Any, root: Path) -> Model:
        """The source as a model; nothing heavy happens before it is used. Raises UserError."""

    def files(self, config: Any, root: Path) -> list[Path]:
        """The files that hold its weights; their size is the source's size. Empty where only the factory knows."""


SOURCES: dict[str, SourceKind] = {
    "pytorch": cast("SourceKind", pytorch),
    "onnx": cast("SourceKind", onnx),
}
