"""Fixtures that several rooms need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from toolchain.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The Pulumi engine, as a user gets it: found, installed or built (minutes, once per machine)."""
    from toolchain.engine import ensure

    return ensure()
