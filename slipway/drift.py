"""What was changed in the cloud behind Pulumi's back: a refresh, looked at and not recorded.

Moves of autoscaling are no drift: the count of instances is in no state, the range that a schedule sets is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from model_build.errors import UserError
from model_build.manifest import ManifestError, read_manifest
from slipway.console import Console
from slipway.review import engine, infrastructure
from slipway.review.infrastructure import ResourceChange

LABEL = "drift"
TARGET = "aws:appautoscaling/target:Target"
SCHEDULED = {"minCapacity", "maxCapacity"}
"""Properties of a scalable target that a scheduled action sets."""


def find(root: Path, environment: str, console: Console) -> list[ResourceChange]:
    """What differs from the state. Raises UserError where the refresh fails."""
    told, code = engine.events(root, environment, console, "refresh", "--preview-only")
    if code != 0:
        raise UserError(
            f"`pulumi refresh --preview-only -s {environment}` failed:\n{infrastructure.errors(told)}",
            f"is the account reachable? slipway doctor --env {environment}",
        )
    return drifted(told, _scheduled(root, environment))


def drifted(told: Iterable[Mapping[str, Any]], scheduled: Collection[str] = ()) -> list[ResourceChange]:
    """From a refresh's events. `scheduled` are the models whose range of instances changes by the clock."""
    steps = (event.get("resOutputsEvent", {}).get("metadata", {}) for event in told)
    return infrastructure.changes(
        {"resourcePreEvent": {"metadata": step}}
        for step in steps
        if step.get("op") in ("update", "delete") and not _by_the_clock(step, scheduled)
    )


def _by_the_clock(step: Mapping[str, Any], scheduled: Collection[str]) -> bool:
    """Whether a scheduled action did it."""
    return (
        step["op"] == "update"
        and infrastructure.type_of(step["urn"]) == TARGET
        and infrastructure.model_of(step) in scheduled
        and set(step.get("diffs") or ()) <= SCHEDULED
    )


def markdown(environment: str, found: Iterable[ResourceChange]) -> str:
    """The issue's text."""
    lines = [
        f"- {one.what} `{one.name}`: "
        + ("is gone" if one.operation == "delete" else f"{', '.join(one.properties)} changed")
        for one in found
    ]
    return "\n".join(
        [
            marker(environment),
            f"Somebody or something changed the stack `{environment}` in the cloud, past its specs:",
            "",
            *lines,
            "",
            f"To put it back: `pulumi up --refresh -s {environment}`. To keep it, bring it into the spec.",
        ]
    )


def marker(environment: str) -> str:
    return f"<!-- slipway drift of {environment} -->"


def _scheduled(root: Path, environment: str) -> set[str]:
    names = set()
    for path in sorted((root / "build").glob("[!.]*/manifest.json")):
        try:
            if read_manifest(path).deployment(environment).autoscaling.schedule:
                names.add(path.parent.name)
        except ManifestError:
            continue  # whether it is current is a deployment's matter
    return names
