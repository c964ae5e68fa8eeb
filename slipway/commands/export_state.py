"""`slipway export-state`: writes the weights of a spec's source, in any format that a source can be read from."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("safetensors", "hdf5", "joblib", "pickle")


@click.command()
@click.argument("name", metavar="NAME|FILE")
@click.option("--to", type=click.Choice(FORMATS), required=True, help="The format.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; NAME and the format's ending here.",
)
@click.pass_obj
def command(root: Path, name: str, to: str, output: Path | None) -> None:
    """Write the state dict of a model's source: every tensor by its name.

    Warning: pickle and joblib files can run code when they are loaded. What is written here holds NumPy arrays alone,
    yet whoever receives it cannot see that: prefer safetensors or HDF5, which cannot hold code.

    \b
      slipway export-state fashion --to safetensors
      slipway export-state fashion --to hdf5 -o /tmp/fashion.h5
    """
    from model_build.loading import find, load
    from model_build.sources.export import ENDINGS, export

    (path,) = find([name], root)
    spec = load(path, root)
    target = output or Path(f"{spec.name}{ENDINGS[to]}")
    tensors, size = export(spec, root, to, target)
    click.echo(f"✓ {target}: {tensors} tensors, {size / 1e6:.1f} MB")
    if to in ("pickle", "joblib"):
        click.echo("  loading such a file can run code: pass it on only to people who trust you", err=True)
