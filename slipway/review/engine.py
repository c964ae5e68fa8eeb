"""Runs the engine for a report, not for a person: on any environment, with its events as data."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from slipway import environments
from slipway.console import Console
from slipway.local import ensure_engine
from slipway.review import infrastructure


def events(root: Path, environment: str, console: Console, *arguments: str) -> tuple[list[dict[str, Any]], int]:
    """What `pulumi ARGUMENTS` told of a stack, and its exit code. Raises UserError where there is no engine."""
    engine = ensure_engine(console, announce=False)
    done = subprocess.run(
        [str(engine.pulumi), *arguments, "--stack", environment, "--json", "--non-interactive"],
        cwd=root,
        env=environments.variables(root, environment, engine) | {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"},
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    told = infrastructure.events(done.stdout)
    if done.returncode != 0 and not infrastructure.errors(told):
        told.append({"diagnosticEvent": {"severity": "error", "message": done.stderr.strip()}})
    return told, done.returncode
