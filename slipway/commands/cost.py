"""`slipway cost`: what the models cost a month in each environment, and whether that is within their budgets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model_build.errors import SpecError, UserError

if TYPE_CHECKING:
    from infra.cost import Cost
    from infra.prices import RegionPrices
    from model_build.spec import Spec

COLUMNS = ("environment", "model", "min", "expected", "max", "budget")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--env", "environments", multiple=True, metavar="ENV", help="The environment; all but local, if not given."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.pass_obj
def command(root: Path, names: tuple[str, ...], environments: tuple[str, ...], as_json: bool) -> None:
    """Say what the models cost a month: at least, as expected, and at most.

    Reads the specs, the regions of the stacks' files and the committed price table (slipway prices). Exits 1 where a
    model is over its deploy.budget, or has one and what it costs is unknown.

    \b
      slipway cost
      slipway cost fashion --env prod
      slipway cost --json
    """
    from infra import cost
    from infra.prices import TableError, committed
    from model_build.loading import load_all
    from slipway import stacks

    specs, problems = load_all(names, root)
    if problems:
        raise SpecError([str(problem) for problem in problems])
    chosen = environments or tuple(name for name in stacks.names(root) if name != "local")
    if not chosen:
        raise UserError("no stack file names an environment", "write Pulumi.dev.yaml; docs/aws.md shows one")
    try:
        table = committed()
    except TableError as error:
        raise UserError(str(error)) from None
    rows: list[tuple[str, ...]] = []
    told: dict[str, Any] = {}
    over: list[str] = []
    reasons: dict[str, None] = {}
    for environment in chosen:
        stack = stacks.read(root, environment)
        if not stack.region:
            raise UserError(
                f"Pulumi.{environment}.yaml names no region, and prices differ by region",
                f"run: pulumi config set slipway:region us-east-1 -s {environment}",
            )
        costs: dict[str, Cost] = {}
        for spec in specs.values():
            if stack.models and spec.name not in stack.models and not names:
                continue
            found = _cost(spec, environment, stack.region, table.region(stack.region), root)
            costs[spec.name] = found
            budget = spec.deployment(environment).budget
            rows.append((environment, spec.name, *_figures(found), cost.dollars(budget.monthly_usd) if budget else "–"))
            reasons |= dict.fromkeys(found.reasons)
            if budget and (why := cost.over_budget(found, budget.monthly_usd)):
                over.append(f"{spec.name} in {environment}: {why}")
        if len(costs) > 1:
            rows.append((environment, "all", *_figures(cost.total(costs.values())), "–"))
        told[environment] = {
            "region": stack.region,
            **cost.as_json(costs),
            "prices": _dates(table.region(stack.region)),
        }
    if as_json:
        click.echo(json.dumps({"format": 1, "environments": told, "over_budget": over}, indent=2, ensure_ascii=False))
    else:
        _show(rows)
        for reason in reasons:
            click.echo(f"unknown: {reason}")
        click.echo(f"USD in a month of {cost.HOURS} hours, on demand, without tax; {cost.NOT_COUNTED}.")
        for environment, answer in told.items():
            dates = ", ".join(f"{kind.replace('_', ' ')} {day}" for kind, day in answer["prices"].items()) or "none"
            click.echo(f"Prices of {answer['region']} ({environment}), read: {dates}.")
    if over:
        raise UserError("\n".join(over), "raise deploy.budget, or take smaller or fewer instances")


def _cost(spec: Spec, environment: str, region: str, prices: RegionPrices, root: Path) -> Cost:
    from infra import billing, cost
    from model_build.capacity import CapacityError, read_capacity
    from model_build.manifest import ManifestError, read_manifest

    deploy = spec.deployment(environment)
    try:
        artifact = read_manifest(root / "build" / spec.name / "manifest.json").artifact
    except ManifestError:  # not built, or to be built again: its storage is a matter of cents
        return cost.monthly(billing.hosting(deploy, None), prices, region)
    target = None
    if deploy.autoscaling.target == "auto" and deploy.metric == "invocations":
        try:
            found = read_capacity(
                root, name=spec.name, artifact=artifact.sha256, instance=deploy.instance, environment=environment
            )
            target = found.target("invocations", deploy.autoscaling.safety)
        except CapacityError:
            target = None  # the deployment refuses it with the reason; here the expected cost is unknown
    return cost.monthly(billing.hosting(deploy, artifact.bytes, target), prices, region)


def _figures(found: Cost) -> tuple[str, str, str]:
    from infra.cost import dollars

    return dollars(found.minimum), dollars(found.expected), dollars(found.maximum)


def _dates(prices: RegionPrices) -> dict[str, str]:
    from infra.prices import KINDS

    return {kind: part.date.isoformat() for kind in KINDS if (part := getattr(prices, kind)) is not None}


def _show(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[index]) for row in (COLUMNS, *rows)) for index in range(len(COLUMNS))]
    for row in (COLUMNS, *rows):
        cells = [
            text.ljust(width) if index < 2 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
