"""Answers `slipway build` at once where nothing changed: no click, no pydantic, no YAML is imported for it.

Whatever it does not understand, and whatever may have changed, it leaves to the command line proper.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from model_build import stat_index
from slipway import outcomes

_WITH_VALUE = {"-j", "--jobs", "--cache", "--scheduler"}
"""Options of `slipway build` that do not matter where nothing is built."""


def run(arguments: Sequence[str]) -> int | None:
    """Does the whole command and gives its exit code; None where it has to be done the long way."""
    if not arguments or arguments[0] != "build":
        return None
    names, as_json, rest = [], False, list(arguments[1:])
    while rest:
        argument = rest.pop(0)
        if argument == "--json":
            as_json = True
        elif argument in _WITH_VALUE and rest:
            rest.pop(0)
        elif argument.startswith("-") or "/" in argument or "." in argument:
            return None
        elif argument not in names:
            names.append(argument)
    root = _root(os.getcwd())
    specs = _specs(root) if root else []
    names = names or specs
    if not root or not names or not set(names) <= set(specs):
        return None
    index = stat_index.Index(root, stat_index.environment())
    found = []
    for name in names:
        outcome = index.outcome(name, f"specs/{name}.yaml")
        if outcome is None:
            return None
        found.append(outcome)
    sys.stderr.write(f"✓ up to date: {', '.join(names) if len(names) < 6 else f'{len(names)} models'}\n")
    if as_json:
        print(outcomes.as_json([{**outcome, "built": False, "seconds": 0.0} for outcome in found]))
    else:
        print("\n".join(map(outcomes.line, found)))
    return 0


def _root(folder: str) -> str | None:
    """The nearest folder, upwards, that holds Pulumi.yaml, as `cli.project_root` finds it."""
    while not os.path.isfile(os.path.join(folder, "Pulumi.yaml")):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return None
    return os.path.realpath(folder)


def _specs(root: str) -> list[str]:
    """The names of all specs; none where one needs a word from `loading`."""
    try:
        files = sorted(name for name in os.listdir(os.path.join(root, "specs")) if name.endswith((".yaml", ".yml")))
    except OSError:
        return []
    return [name.removesuffix(".yaml") for name in files] if all(name.endswith(".yaml") for name in files) else []
