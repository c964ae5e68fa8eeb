"""A copy of what a server keeps, with one of its endpoints alone: what a rehearsal runs on, and may break."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from localcloud.errors import LocalCloudError
from localcloud.persistence.journal import Journal


def copy_state(source: Path, target: Path, region: str, endpoint: str) -> None:
    """Copies the kept state of one directory to another, which has none. Raises LocalCloudError without the endpoint.

    The source's server may run: its snapshot is replaced as a whole, and its journal only grows.
    """
    try:
        kept = json.loads((source / "hosting.json").read_bytes())
    except FileNotFoundError:
        kept = {"regions": {}}
    content: dict[str, Any] = kept["regions"].get(region, {"endpoints": []})
    endpoints = [one for one in content["endpoints"] if one["name"] == endpoint]
    if not endpoints:
        names = [one["name"] for one in content["endpoints"]]
        raise LocalCloudError(
            f"the local AWS has no endpoint {endpoint}; it has {', '.join(names) or 'none'}; deploy it: slipway up"
        )
    resource = f"endpoint/{endpoint}/"
    content |= {
        "endpoints": endpoints,
        "targets": [one for one in content["targets"] if one["resource"].startswith(resource)],
    }
    journal = Journal(target)
    (target / "hosting.json").write_text(json.dumps(kept | {"regions": {region: content}}), encoding="ascii")
    if (source / journal.path.name).exists():
        shutil.copyfile(source / journal.path.name, journal.path)
    for entry in journal.entries():
        if entry.digest:
            _link(source / journal.bodies.name / entry.digest, journal.bodies / entry.digest)


def _link(source: Path, target: Path) -> None:
    """Bodies never change, so both directories can share them where they lie on one file system."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
