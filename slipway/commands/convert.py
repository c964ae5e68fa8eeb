"""`slipway convert`: a spec's source as another platform's file, compared with the source before it gets its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from slipway.console import Console

if TYPE_CHECKING:
    from model_build.spec import Spec

# Of `model_build.platforms`, which imports more than the help of this command needs.
NAMES = ("onnx", "torchscript", "litert", "openvino", "coreml")


@click.command()
@click.argument("name", metavar="NAME|FILE")
@click.option("--to", "platform", type=click.Choice(NAMES), required=True, help="The platform.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file; build/NAME/platforms/NAME and the platform's ending, if not given.",
)
@click.option(
    "--candidate",
    type=click.Choice(("source", "chosen")),
    default="source",
    show_default=True,
    help="`chosen` converts nothing: it says what holds the candidate that was built, and what runs it.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 100),
    default=99.5,
    show_default=True,
    help="Percent of the evaluation samples that must keep their class.",
)
@click.option(
    "--max-difference",
    type=click.FloatRange(0, 1),
    default=1e-3,
    show_default=True,
    help="Where outputs are no classes: how far one may be off, as a share of its largest value.",
)
@click.pass_obj
@click.pass_context
def command(
    context: click.Context,
    root: Path,
    name: str,
    platform: str,
    output: Path | None,
    candidate: str,
    min_agreement: float,
    max_difference: float,
) -> None:
    """Convert the source of model NAME to another platform, in 32 bits, and say what that loses and gains.

    Both are run on the spec's evaluation data, in fresh processes and in turn. A JSON file beside the converted one has
    all that is printed. A conversion that misses its limit exits 1, and its file is named NAME.rejected.

    \b
      slipway convert fashion --to openvino
      slipway convert news-topics --to torchscript -o topics.pt
      slipway convert announcers --to coreml --min-agreement 99.9
    """
    from model_build import loading
    from model_build.platforms import conversion, table

    console = Console()
    (path,) = loading.find([name], root)
    spec = loading.load(path, root)
    if candidate == "chosen":
        click.echo(_chosen(spec, root, platform))
        return
    limits = conversion.Limits(min_agreement / 100, max_difference)
    done = conversion.convert(spec, root, path, platform, output, limits, console)
    rows = table.table(done.record)
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        click.echo("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for line in table.remarks(done.record):
        click.echo(f"  {line}")
    if done.holds:
        click.echo(f"✓ {done.path}")
        return
    click.echo(f"✗ {done.path}: {table.missed(done.record)}", err=True)
    click.echo("  next: use another platform, or give --min-agreement or --max-difference", err=True)
    context.exit(1)


def _chosen(spec: Spec, root: Path, platform: str) -> str:
    """What holds the candidate that was built, and the ways to have a quantized model on the platform."""
    from model_build.build import FOLDER
    from model_build.manifest import read_manifest

    manifest = read_manifest(root / FOLDER / spec.name / "manifest.json")
    litert = "convert_litert" in manifest.candidate
    holds = "model.tflite" if litert else "model.onnx"
    quantize = "convert the source, and quantize it there with"
    ways = {
        "onnx": "build a candidate that ends in ONNX" if litert else "it is that: unpack the file",
        "torchscript": "convert the source; TorchScript is not made of a graph",
        "litert": "it is that: unpack the file"
        if litert
        else "build a candidate with convert_litert's option quantize",
        "openvino": f"{quantize} NNCF" if litert else "OpenVINO reads the file as it is (docs/adr/0002-openvino.md)",
        "coreml": f"{quantize} coremltools.optimize",
    }
    return (
        f"{spec.name}: '{manifest.candidate}' is {holds} in {FOLDER}/{spec.name}/{manifest.artifact.file}; "
        f"nothing was converted.\n  {platform}: {ways[platform]}"
    )
