"""Gathers what a review tells: builds both sides, asks the engine for a preview, counts the costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_build.errors import SpecError, UserError
from model_build.manifest import Manifest, ManifestError, read_manifest, verify
from slipway import stacks
from slipway.console import Console
from slipway.review import base, changes, engine, infrastructure
from slipway.review.comment import Review

if TYPE_CHECKING:
    from infra.cost import Cost

POLICIES = Path("infra") / "policy"
REGION = "us-east-1"
"""Of the prices for `local`, which has none of its own."""


def review(root: Path, reference: str, environment: str, console: Console, *, preview: bool, policies: bool) -> Review:
    """Everything that a comment tells. Raises UserError where there is nothing to compare with."""
    with console.step(f"what {reference} has"):
        before = base.models(root, base.commit_of(root, reference))
    after, failures = _build(root, console)
    compared = changes.compare(before.models, after, failures, environment, before.unbuilt)
    region = stacks.read(root, environment).region or REGION
    found = Review(
        environment=environment,
        base=f"{reference} ({before.commit[:9]})",
        changes=compared,
        costs=_costs(before.models, after, failures, environment, region),
    )
    if not preview or failures:  # the program refuses what was not built, which is told already
        return found
    with console.step(f"pulumi preview -s {environment}"):
        pack = ("--policy-pack", str(root / POLICIES)) if policies else ()
        told, code = engine.events(root, environment, console, "preview", *pack)
    resources = infrastructure.changes(told)
    violations = infrastructure.violations(told) if policies else None
    # A violated policy fails the preview too, and is told as what it is.
    failed = code != 0 and not any(one.mandatory for one in violations or ())
    return replace(
        found,
        resources=None if failed else resources,
        failure=(infrastructure.errors(told) or f"pulumi preview exited {code}") if failed else "",
        violations=None if failed else violations,  # not all were seen
    )


def _build(root: Path, console: Console) -> tuple[dict[str, Manifest], dict[str, str]]:
    """This side's manifests, and by name what failed builds said. Raises UserError for what is of no one model."""
    from model_build.build import together
    from slipway.commands.build import attempt

    specs = sorted(path.stem for path in (root / "specs").glob("*.yaml"))
    try:
        outcomes, failed = attempt(root, (), console) if specs else ([], [])
    except SpecError as error:  # a spec that is wrong keeps all from being built
        outcomes, failed = [], [error]
    built = {outcome.manifest.name: outcome.manifest for outcome in outcomes}
    failures: dict[str, str] = {}
    for name in specs:
        said = [str(error) for error in failed if _is_of(error, name)]
        if said:
            failures[name] = "\n".join(said)
        elif name not in built:
            # Kept from being built by another spec's problem: what was published before holds if it is still current.
            stale = _stale(root, name)
            if stale:
                failures[name] = stale
            else:
                built[name] = read_manifest(root / "build" / name / "manifest.json")
    nobodys = [error for error in failed if not any(_is_of(error, name) for name in specs)]
    if nobodys:
        raise together(nobodys)
    return built, failures


def _is_of(error: UserError, name: str) -> bool:
    if isinstance(error, SpecError):
        return any(f"/{name}.yaml" in problem for problem in error.problems)
    return error.message.startswith(f"{name}:")


def _stale(root: Path, name: str) -> str:
    """Why a published manifest says nothing of this side; empty where it does."""
    directory = root / "build" / name
    try:
        problems = verify(read_manifest(directory / "manifest.json"), directory, root)
    except ManifestError as error:
        return str(error)
    return "\n".join(problems)


def _costs(
    before: Mapping[str, Manifest],
    after: Mapping[str, Manifest],
    failures: Mapping[str, str],
    environment: str,
    region: str,
) -> dict[str, tuple[Cost | None, Cost | None]]:
    """A model that was not built stays deployed as it is."""
    from infra import billing, cost
    from infra.prices import TableError, committed

    try:
        prices = committed().region(region)
    except TableError as error:
        raise UserError(str(error)) from None

    def of(manifest: Manifest | None) -> Cost | None:
        return cost.monthly(billing.of_manifest(manifest, environment), prices, region) if manifest else None

    return {
        name: (of(before.get(name)), of(before.get(name) if name in failures else after.get(name)))
        for name in sorted({*before, *after})
    }
