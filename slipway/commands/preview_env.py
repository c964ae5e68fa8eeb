"""`slipway preview-env`: a pull request's own endpoints, as small as can be, until it is closed or forgotten."""

from __future__ import annotations

from pathlib import Path

import click

LIKE = click.option(
    "--like", default="dev", show_default=True, help="Environment whose account, region and network it has."
)
NUMBER = click.option("--number", type=click.IntRange(1), help="Of the pull request; a job's variables tell it.")


@click.group()
def command() -> None:
    """Give a pull request a stack of its own, `pr-N`, and take it down.

    It holds what lies in build/, one instance each of the cheapest size that holds the model, without autoscaling,
    alarms and further variants. It says itself until when it is needed; `sweep` destroys what is over, and touches
    nothing that is not called pr-N and was not made by `up`.

    \b
      slipway build && slipway preview-env up --number 12 --ttl 24h
      slipway preview-env down --number 12
      slipway preview-env sweep
    """


@command.command()
@NUMBER
@LIKE
@click.option("--ttl", default="72h", show_default=True, help="How long it is needed from now on: 8h, 3d.")
@click.pass_obj
def up(root: Path, number: int | None, like: str, ttl: str) -> None:
    """Deploy what was built to the pull request's stack, and ask each endpoint for a prediction.

    Run again, it deploys what is new and lives longer.
    """
    from slipway import previews
    from slipway.commands.deploy import deployed
    from slipway.console import Console

    lifetime = previews.lifetime(ttl)
    name = previews.stack_name(_number(number))
    console = Console()
    stack = previews.opened(root, like, console)
    with console.step(f"stack {name}"):
        expires = previews.create(root, stack, name, like, lifetime)
        console.note(f"until {expires:%Y-%m-%d %H:%M} UTC")
    click.echo("\n".join(deployed(root, name, stack, console)))


@command.command()
@NUMBER
@LIKE
@click.pass_obj
def down(root: Path, number: int | None, like: str) -> None:
    """Destroy the pull request's stack. One that does not exist is no error."""
    from slipway import previews
    from slipway.console import Console

    name = previews.stack_name(_number(number))
    console = Console()
    stack = previews.opened(root, like, console)
    gone = previews.destroy(root, stack, name, like, console)
    click.echo(f"{name}: {'destroyed' if gone else 'there is none'}")


@command.command()
@LIKE
@click.pass_obj
def sweep(root: Path, like: str) -> None:
    """Destroy every preview whose time is over. Safe to run twice, and beside an `up`."""
    from datetime import UTC, datetime

    from model_build.errors import UserError
    from slipway import previews
    from slipway.console import Console

    console = Console()
    stack = previews.opened(root, like, console)
    failures = []
    for name, reason in previews.expired(stack, datetime.now(UTC)):
        if reason:
            click.echo(f"{name}: stays, {reason}")
            continue
        try:
            gone = previews.destroy(root, stack, name, like, console)
        except UserError as error:  # the others' time is over as well
            failures.append(f"{name}: {error}")
        else:
            click.echo(f"{name}: {'destroyed' if gone else 'gone already'}")
    if failures:
        raise UserError("\n".join(failures), "run it again; what is locked is being worked on")


def _number(given: int | None) -> int:
    """Raises UserError where neither the option nor the job says which pull request it is."""
    import os

    from model_build.errors import UserError
    from slipway.review import forge

    number = given or forge.number_of_environment(os.environ)
    if number is None:
        raise UserError("the job does not say which pull request it is of", "give --number N")
    return number
