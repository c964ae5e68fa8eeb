"""Keeps the notes of the libraries below from the terminal: they warn of what the user of a spec cannot change."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO


@contextmanager
def quiet() -> Iterator[StringIO]:
    """Silences logging, warnings and printing while it lasts; what was printed is in the yielded buffer."""
    before = logging.root.manager.disable
    # `logging.warning` installs a handler for good where the root logger has none; this one is taken back.
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    logging.disable(logging.CRITICAL)
    sink = StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(sink), redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield sink
    finally:
        logging.disable(before)
        logging.root.removeHandler(handler)
