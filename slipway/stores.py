"""The store that a URL of the command line or of a spec names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_build.errors import UserError

if TYPE_CHECKING:
    from stores.store import Store


def opened(url: str) -> Store:
    """Raises UserError where the URL names none; whether the store can be reached shows when it is used."""
    from stores import opening

    try:
        return opening.opened(url)
    except ValueError as error:
        raise UserError(str(error), "docs/stores.md says how a store is named") from None
