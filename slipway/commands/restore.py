"""`slipway restore`: what was published, back into build/."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--from", "url", required=True, metavar="URL", help="Store that the models were published to.")
@click.option("--digest", metavar="SHA256", help="How the digest of the artifact, or of its manifest, begins.")
@click.pass_obj
def command(root: Path, names: tuple[str, ...], url: str, digest: str | None) -> None:
    """Bring published models back into build/NAME/, every file's digest verified, without building anything.

    Of what was published it takes the newest that was built from the files of this checkout, which is what a deployment
    accepts; `--digest` takes any other.

    \b
      slipway restore fashion --from oss://my-models/slipway?region=cn-hangzhou
      slipway restore fashion --from s3://my-models --digest 3f2a91c0
    """
    from model_build.errors import UserError
    from slipway import publication
    from slipway.console import Console

    if digest and len(names) > 1:
        raise UserError("--digest is of one model", "restore the models one by one")
    console = Console()
    for name in names:
        manifest = publication.restore(root, name, url, digest, console)
        click.echo(f"{name}: {manifest.artifact.sha256[:12]} · {manifest.candidate} · build/{name}")
