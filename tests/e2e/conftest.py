"""One clone for all tests that walk a newcomer's path, since its environment and its first builds take minutes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from newcomer import Checkout, clone


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    root = tmp_path_factory.mktemp("newcomer") / "slipway"
    copy = clone(root)
    try:
        yield copy
    finally:
        copy.run("make", "down", check=False)
        shutil.rmtree(root, ignore_errors=True)
