"""Errors that a user can mend: what happened, and the next step. The command line prints them without a traceback.

All of them are here, so that their wording stays one voice. `ManifestError` is in `manifest`, which stands alone.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Of an OSError: there is no room for what is to be written."""


def _restored(kind: type[UserError], arguments: tuple[Any, ...], values: dict[str, Any]) -> UserError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(values)
    return error


class UserError(Exception):
    """Something for the user to mend. `next_step` is a command or an action, printed after the message."""

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.next_step}" if self.next_step else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Between processes as it is: an exception is otherwise made anew from its arguments, which subclasses change.
        return _restored, (type(self), self.args, self.__dict__)


class SpecError(UserError):
    """Specs that cannot be used; `problems` has a line for each thing to mend, with file, line and key."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class GatesMissed(UserError):
    """No candidate passes every gate. `table` says per candidate what missed by how much."""

    def __init__(self, name: str, table: str, kept: bool) -> None:
        last = "the last good artifact stays in place" if kept else "nothing was published"
        super().__init__(
            f"{name}: no candidate passes every gate; {last}\n{table}",
            "change the gates or the candidates in the spec, or the model",
        )
        self.table = table
