"""Reads AWS's image registries out of an installed `sagemaker` package into the committed table.

The package's JSON tables are read as files: importing it takes seconds and is not needed. Any of its distributions
will do; `sagemaker-core` is the small one.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from infra.images import Registries

# Distribution → where its tables lie. Version 2 had them in `sagemaker` itself.
PACKAGES = {"sagemaker-core": "sagemaker/core/image_uri_config", "sagemaker": "sagemaker/image_uri_config"}
ISOLATED = "-iso"  # regions that a stack cannot be in (`settings`)


class NoTablesError(Exception):
    """No installed package has the tables; the message says what to install."""


def refreshed(today: date) -> Registries:
    """The registries of the installed package. Raises NoTablesError."""
    for name, folder in PACKAGES.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        path = Path(str(distribution.locate_file(folder)))
        if path.is_dir():
            return read(path, f"{name} {distribution.version}, image_uri_config", today)
    raise NoTablesError(
        "no installed package has AWS's image tables; install the small one beside the project: "
        "pip install --no-deps sagemaker-core"
    )


def read(folder: Path, source: str, today: date) -> Registries:
    """Every inference repository of a folder of `image_uri_config` tables."""
    found: dict[str, dict[str, set[str]]] = {}
    for path in sorted(folder.glob("*.json")):
        for repository, registries in _inference(json.loads(path.read_bytes())):
            accounts = found.setdefault(repository, {})
            for region, account in registries.items():
                if ISOLATED not in region:
                    accounts.setdefault(account, set()).add(region)
    return Registries(
        date=today,
        source=source,
        repositories={
            name: {account: tuple(sorted(regions)) for account, regions in sorted(accounts.items())}
            for name, accounts in sorted(found.items())
        },
    )


def _inference(table: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """(repository, region → account) of each version, of the parts of a framework's table that are for inference."""
    scopes = [table[scope] for scope in table if scope.startswith("inference")]
    if not scopes and "inference" in table.get("scope", ()):
        scopes = [table]
    for scope in scopes:
        yield from _versions(scope)


def _versions(node: Any) -> Iterator[tuple[str, dict[str, str]]]:
    if not isinstance(node, dict):
        return
    repository, registries = node.get("repository"), node.get("registries")
    if isinstance(repository, str) and isinstance(registries, dict):
        yield repository, registries
    for inner in node.values():
        yield from _versions(inner)


def to_json(table: Registries) -> str:
    """A line for each repository, so that a refresh shows what changed."""
    head = {"format": table.format, "date": table.date.isoformat(), "source": table.source}
    lines = [f" {json.dumps(name)}: {json.dumps(accounts)}" for name, accounts in table.repositories.items()]
    return json.dumps(head)[:-1] + ',\n"repositories": {\n' + ",\n".join(lines) + "\n}}\n"
