"""Environments of their own for what cannot or need not be in the main one, from a locked set of `requirements/`."""

from __future__ import annotations

from pathlib import Path

from bench import environments

PROJECT = Path(__file__).parents[1]


def python_with(name: str) -> Path:
    """Python of `.venv-NAME`, which has `requirements/NAME.txt` and sees the main environment's packages after those.

    Made when its requirements change, and kept in the checkout.
    """
    return environments.made(name, PROJECT / f".venv-{name}", sharing=True)
