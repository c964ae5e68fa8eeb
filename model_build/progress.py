"""What long work tells of itself. The library's default says nothing; the command line passes its own.

`slipway.console.Console` fits this protocol.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Progress(Protocol):
    def step(self, title: str, /) -> AbstractContextManager[None]:
        """Encloses one step of work; leaving it by an exception means that it failed."""

    def note(self, text: str, /) -> None:
        """One line about the running step."""


class Silent:
    """The default: does nothing."""

    def step(self, title: str, /) -> AbstractContextManager[None]:
        return nullcontext()

    def note(self, text: str, /) -> None:
        return None


SILENT = Silent()
