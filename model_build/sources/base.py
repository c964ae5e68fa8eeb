"""What a source is told of what is wanted of it, and how files are shown. Apart so that a source can import it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_build.passes.base import Batch

SHOWN = 8
"""Names in a message before it says how many more there are."""


@dataclass(frozen=True)
class Wanted:
    """Of a source that is made into ONNX."""

    inputs: tuple[str, ...]
    """The task's names of the model's inputs."""
    outputs: tuple[str, ...]
    samples: Callable[[], Iterator[Batch]] = lambda: iter(())
    """Encoded evaluation batches, to compare the ONNX model with the original on; none where the spec has no data."""
    note: Callable[[str], None] = lambda message: None


def shown(path: Path, root: Path) -> str:
    """A file's path as the spec's author knows it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
