"""Older versions of the spec → this one: what changed, why, and the edits that a file needs for it.

The version of specs is one more than there are migrations; docs/development.md says when it is raised. A spec of an
older version is not read as it is, so that no other part of the program has to know what keys once meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model_build.yaml_edit import Document, EditError

MIGRATIONS: Mapping[int, Callable[[Document], None]] = {}
"""From version → a function that makes such a spec one of the next version; its docstring tells people what and why.

Its edits let be what a spec does not have, so it is written as if every key were there.
"""


@dataclass(frozen=True)
class Migrated:
    """A spec's text as it was and as it is in this version, which differ by the reasons alone."""

    before: str
    after: str
    version: int
    """Of the text as it was."""
    reasons: tuple[str, ...]


def current() -> int:
    return 1 + len(MIGRATIONS)


def objection(version: object, name: str) -> str | None:
    """Why a spec of this version cannot be read; None where it can, and where it is no version at all."""
    if type(version) is not int or version < 1 or version == current():
        return None
    if version > current():
        return f"is {version}, and this Slipway knows none above {current()}; update Slipway"
    return f"is {version} (or left out), and this Slipway reads {current()}; run: slipway migrate {name}"


def migrate(text: str) -> Migrated:
    """The text of a spec in this version. Raises EditError, whose line is one of the text that is given."""
    document = Document(text)
    version = document.get(("version",), 1)
    if type(version) is not int or version < 1:
        raise document.error(("version",), "must be a whole number, at least 1")
    if version > current():
        raise document.error(("version",), str(objection(version, "")))
    reasons = [reason(number) for number in range(version, current())]
    for number in range(version, current()):
        try:
            MIGRATIONS[number](document)
            document.set_first("version", number + 1)
            document.verify()
        except EditError as error:
            raise EditError(
                error.line, error.key, f"{error.message} (for version {number + 1}: {reason(number)})"
            ) from None
    return Migrated(text, document.text, version, tuple(reasons))


def reason(version: int) -> str:
    """What changes after a version, and why, in a sentence."""
    return " ".join((MIGRATIONS[version].__doc__ or "").split())
