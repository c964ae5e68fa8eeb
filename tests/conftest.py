"""Fixtures that several rooms need."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from toolchain.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The Pulumi engine, as a user gets it: found, installed or built (minutes, once per machine)."""
    from toolchain.engine import ensure

    return ensure()


@pytest.fixture
def pulumi_environment(engine: Engine, tmp_path: Path) -> dict[str, str]:
    """The whole environment for `pulumi` as a child process, with state and plugins below `tmp_path/.slipway`."""
    from toolchain.environment import variables

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
    return kept | variables(tmp_path, engine)
