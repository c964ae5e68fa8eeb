"""The contract of a platform: what it is given and what it writes. Apart from the registry, which imports them all."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from model_build.errors import UserError

if TYPE_CHECKING:
    from model_build.passes.base import Context, Format, Model


class Platform(Protocol):
    """A module of this package. Its docstring's first line is what the documentation says of it."""

    __name__: str
    __doc__: str | None
    ENDING: ClassVar[str]
    """Of the file that stands for the model."""
    STARTS_FROM: ClassVar[Mapping[Format, tuple[str, ...]]]
    """Format of the source → the passes whose result `write` is given. Other sources cannot be converted."""
    INSTEAD: ClassVar[str]
    """What to do with a source of another format."""
    KIND: ClassVar[str]
    """Of the `measure.Subject` that runs it."""
    NEEDS: ClassVar[Mapping[str, str]]
    """Module → the command that installs it, of what is optional."""
    RUN_BY: ClassVar[Mapping[str, str]]
    """What runs it → its distribution, if it is one that is installed here."""
    RUNS_HERE: ClassVar[bool]
    """False: what runs it is not to be had here, so answers are compared by other means and nothing is timed."""
    GAINS: ClassVar[tuple[str, ...]]
    LOSES: ClassVar[tuple[str, ...]]

    @staticmethod
    def write(model: Model, context: Context, target: Path) -> None:
        """Writes the model to `target`, in a folder of its own that may hold more files of it. Raises UserError."""

    @staticmethod
    def settings(path: Path, root: Path) -> dict[str, Any]:
        """Those of its `measure.Subject`."""


def require(name: str, needs: Mapping[str, str]) -> None:
    """Raises UserError where an optional library of a platform is not installed."""
    for module, command in needs.items():
        if find_spec(module) is None:
            raise UserError(f"--to {name} needs {module}, an optional extra that is not installed", f"run: {command}")
