"""Errors of finding the engine. They are apart from `engine` because the sources of engines raise them too."""

from __future__ import annotations


class EngineError(Exception):
    """There is no engine to work with. `message` says what happened and why, `next_step` what to do."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.next_step}"


class Unavailable(Exception):
    """One source cannot give an engine here; the message is the reason. `ensure` goes on to the next."""
