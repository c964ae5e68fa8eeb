"""`slipway publish`: what was built, into stores."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--env", "environment", metavar="ENV", help="Environment whose mirrors are meant; those of `deploy`, if not given."
)
@click.option("--to", "urls", multiple=True, metavar="URL", help="Store to publish to, in place of the spec's mirrors.")
@click.pass_obj
def command(root: Path, names: tuple[str, ...], environment: str | None, urls: tuple[str, ...]) -> None:
    """Copy the named models in build/, or all, to the stores that `deploy.mirrors` of their specs name.

    Files lie there by the SHA-256 of their content, so what is there already is not sent again; large ones go in parts,
    and a run that was cut off is gone on with. `slipway deploy` publishes by itself.

    \b
      slipway publish
      slipway publish fashion --env prod
      slipway publish fashion --to oss://my-models/slipway?region=cn-hangzhou
    """
    from model_build.errors import UserError
    from slipway import publication
    from slipway.console import Console
    from stores.store import NoBucket

    console = Console()
    lines = []
    for name in names or publication.built(root):
        wanted = urls or publication.mirrors(root, name, environment)
        if not wanted and names:
            raise UserError(f"{name} has no mirrors", f"give --to URL, or deploy.mirrors in specs/{name}.yaml")
        try:
            done = publication.to_stores(root, name, wanted, console)
        except NoBucket as error:
            raise UserError(str(error), "make the bucket, or deploy the stack that makes it (docs/stores.md)") from None
        lines += [f"{name}: {one.publication.artifact[:12]} is in {one.url}" for one in done]
    if not lines:
        raise UserError("nothing that was built has mirrors", "give NAME --to URL, or deploy.mirrors in a spec")
    click.echo("\n".join(lines))
