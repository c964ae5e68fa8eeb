"""What the stacks' files say of the account, read without Pulumi: for commands that only compute.

`infra.settings` is what a deployment reads, and judges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from model_build.errors import UserError

PREFIX = "slipway:"


@dataclass(frozen=True)
class StackFile:
    """`Pulumi.NAME.yaml`. `region` and `account` are empty where they are not set."""

    name: str
    region: str
    account: str
    models: tuple[str, ...]
    cloud: str = "aws"
    """`aws`, or `local` for a rehearsal on this machine."""
    secrets_provider: str = ""
    """What encrypts the stack's secrets; empty where that is a passphrase."""
    tags: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, Any] = field(default_factory=dict)
    """`slipway:builds` as it stands there: `slipway.remote` judges it."""


def names(root: Path) -> list[str]:
    """Every stack that has a file, `local` included."""
    return sorted(path.name.split(".")[1] for path in root.glob("Pulumi.*.yaml"))


def read(root: Path, name: str) -> StackFile:
    """Raises UserError where there is no such file, or it is not a stack's."""
    path = root / f"Pulumi.{name}.yaml"
    try:
        content: Any = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        known = ", ".join(names(root)) or "none"
        raise UserError(f"there is no stack '{name}': {path.name} is missing", f"known: {known}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} cannot be read: {error}", "mend the file") from None
    config = content.get("config", {}) if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise UserError(f"{path.name} has no mapping `config`", "docs/aws.md shows one")
    values = {
        key.removeprefix(PREFIX): value
        for key, value in config.items()
        if isinstance(key, str) and key.startswith(PREFIX)
    }
    models = values.get("models") or ()
    if isinstance(models, str):
        models = json.loads(models)
    return StackFile(
        name,
        str(values.get("region") or ""),
        str(values.get("account") or ""),
        tuple(str(one) for one in models),
        str(values.get("cloud") or "aws"),
        str(content.get("secretsprovider") or ""),
        {str(key): str(value) for key, value in _mapping(path, values, "tags").items()},
        _mapping(path, values, "builds"),
    )


def _mapping(path: Path, values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key) or {}
    if not isinstance(found, dict):
        raise UserError(f"{path.name}: {PREFIX}{key} is no mapping", "docs/aws.md shows one")
    return found
