"""What a store is: files by name, put where there is none of that name yet.

Apart from the stores themselves: it is all that other rooms need to know, and imports no cloud's library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

Moved = Callable[[int, int], None]
"""Is told, as a file moves, how many of its bytes are where they belong, and how many there are."""


def untold(done: int, total: int) -> None:
    """Nobody looks."""


class StoreError(Exception):
    """A store that cannot be reached, or does not allow it. The message is a reason, without a full stop."""


class NoBucket(StoreError):
    """The bucket itself is not there."""


@dataclass(frozen=True)
class Stat:
    """A stored file. `tag` is another one where the content is another."""

    name: str
    size: int
    modified: datetime
    tag: str = ""


class Store(Protocol):
    """Files by name. It is sent to other processes, so it can be pickled and opens its connection on first use.

    Every method raises StoreError.
    """

    @property
    def url(self) -> str:
        """As it was given, for people to read."""

    def put(self, name: str, source: Path, *, replace: bool = False, moved: Moved = untold) -> bool:
        """Stores a file, as a whole or not at all; False where there is one of that name, unless it is to be replaced.

        What an interrupted upload of the same name left is gone on with, as far as it is the same.
        """

    def get(self, name: str, target: Path, *, moved: Moved = untold) -> bool:
        """Writes a file's content to `target`, which is there as a whole or not at all; False where there is none.

        What an interrupted download left beside the same target is gone on with.
        """

    def stat(self, name: str) -> Stat | None:
        """What there is of that name."""

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """All whose names begin so, in no order."""
