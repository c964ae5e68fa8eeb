"""`slipway image`: our slim serving image, which `image: own` of a spec names."""

from __future__ import annotations

from pathlib import Path

import click

ARCH = click.option(
    "--arch",
    type=click.Choice(("amd64", "arm64")),
    default="amd64",
    show_default=True,
    help="What it runs on: Intel and AMD, or Arm (Graviton: ml.c7g, ml.c8g, …).",
)


@click.group()
def command() -> None:
    """Our slim serving image, for `image: own` in a spec."""


@command.command()
@ARCH
def tag(arch: str) -> None:
    """Print the tag of this checkout's image: a digest of the serving code."""
    from slipway import own_image

    click.echo(own_image.current_tag(arch == "arm64"))


@command.command()
@ARCH
def build(arch: str) -> None:
    """Build it with docker or podman, as slipway-serving:TAG."""
    from slipway import own_image
    from slipway.console import Console

    arm = arch == "arm64"
    uri = f"slipway-serving:{own_image.current_tag(arm)}"
    own_image.build(own_image.container_program(), uri, Console(), arm)
    click.echo(uri)


@command.command()
@click.option("--env", "environment", required=True, metavar="ENV", help="The stack whose repository gets it.")
@ARCH
@click.pass_obj
def push(root: Path, environment: str, arch: str) -> None:
    """Build it and push it to the stack's repository, where it is not there yet.

    Building for another kind of CPU than this machine's needs its emulation: QEMU, registered with binfmt_misc.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    from model_build.errors import UserError
    from slipway import own_image, stacks
    from slipway.console import Console

    where = own_image.destination(stacks.read(root, environment), arch == "arm64")
    program = own_image.container_program()
    ecr = boto3.client("ecr", region_name=where.region)
    try:
        made = own_image.push(program, where, ecr, Console())
    except (BotoCoreError, ClientError) as error:
        raise UserError(f"Amazon ECR refused: {error}", "check the credentials and their ecr: permissions") from None
    click.echo(where.uri if made else f"{where.uri} is there already")
