"""`slipway images`: the committed table of AWS's inference images, looked at and read anew."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from model_build.errors import UserError


@click.group()
def command() -> None:
    """AWS's inference images: infra/tables/images.json."""


@command.command()
@click.argument("image")
@click.option("--region", default="us-east-1", show_default=True, help="The region to pull in.")
def show(image: str, region: str) -> None:
    """Say which URI `image: IMAGE` of a spec means in a region, and until when AWS patches it.

    \b
      slipway images show pytorch-inference:2.6.0-cpu-py312 --region eu-south-1
    """
    from infra import images

    try:
        click.echo(images.image_uri(image, region))
    except ValueError as error:
        raise UserError(str(error)) from None
    today = datetime.datetime.now(datetime.UTC).date()
    if why := images.retired(image, today):
        raise UserError(why)


@command.command()
@click.pass_obj
def refresh(root: Path) -> None:
    """Read the registries out of an installed sagemaker package, which is not needed otherwise.

    \b
      pip install --no-deps sagemaker-core
      slipway images refresh
    """
    from infra import image_refresh

    path = root / "infra" / "tables" / "images.json"
    if not path.is_file():
        raise UserError(f"{path} is not there: the table is part of a checkout of Slipway", "run this in one")
    try:
        table = image_refresh.refreshed(datetime.datetime.now(datetime.UTC).date())
    except image_refresh.NoTablesError as error:
        raise UserError(str(error)) from None
    path.write_text(image_refresh.to_json(table), encoding="utf-8")
    click.echo(f"✓ {len(table.repositories)} repositories of {table.source}")
    click.echo(f"wrote {path.relative_to(root)}; commit it")
