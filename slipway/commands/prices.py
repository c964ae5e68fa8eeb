"""`slipway prices`: the committed price table, shown and read anew from AWS."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from model_build.errors import UserError


@click.group()
def command() -> None:
    """The price table that `slipway cost` counts with: infra/tables/prices.json."""


@command.command()
def show() -> None:
    """Say which prices the table holds, of which day and from where."""
    from infra.prices import KINDS, committed

    for region, prices in committed().regions.items():
        for kind in KINDS:
            part = getattr(prices, kind)
            if part is not None:
                click.echo(f"{region}  {kind}: {len(part.prices)}, {part.date}, {part.source}")


@command.command()
@click.option(
    "--region", "regions", multiple=True, help="Region; those of the table and of the stacks' files, if not given."
)
@click.pass_obj
def refresh(root: Path, regions: tuple[str, ...]) -> None:
    """Read the prices from the AWS Price List API.

    Needs credentials with pricing:GetProducts, and writes nothing but the table; commit it.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    from infra import price_refresh, prices
    from slipway import stacks

    table = prices.committed()
    if not regions:
        stated = {stacks.read(root, name).region for name in stacks.names(root)} - {""}
        regions = tuple(sorted(stated | set(table.regions)))
    client = boto3.client("pricing", region_name=price_refresh.API_REGION)
    try:
        new = price_refresh.refreshed(table, regions, client, datetime.datetime.now(datetime.UTC).date())
    except (BotoCoreError, ClientError) as error:
        raise UserError(
            f"the AWS Price List API did not answer: {error}",
            "give credentials that allow pricing:GetProducts (and unset AWS_ENDPOINT_URL, which `slipway env` sets)",
        ) from None
    except ValueError as error:
        raise UserError(str(error), "name a region of AWS that has SageMaker") from None
    path = _table(root)
    path.write_text(new.to_json(), encoding="utf-8")
    for region in regions:
        found = new.region(region).instances
        click.echo(f"✓ {region}: {len(found.prices) if found else 0} instance types")
    click.echo(f"wrote {path.relative_to(root)}; commit it")


def _table(root: Path) -> Path:
    """The table of the checkout that is worked on, where it has one."""
    from infra.prices import TABLE

    own = root / "infra" / "tables" / TABLE.name
    if not own.is_file():
        raise UserError(f"{own} is not there: the table is part of a checkout of Slipway", "run this in one")
    return own
