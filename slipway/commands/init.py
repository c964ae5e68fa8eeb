"""`slipway init`: the files of a new model, ready to be built."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from slipway.initialize import TASKS


@click.command()
@click.argument("name")
@click.option("--task", type=click.Choice(list(TASKS)), help="What requests hold; asked for on a terminal.")
@click.option(
    "--onnx",
    "model",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write the spec of this ONNX model instead of an example.",
)
@click.option("--train/--no-train", default=True, show_default=True, help="Train the example now, in seconds.")
@click.pass_obj
def command(root: Path, name: str, task: str | None, model: Path | None, train: bool) -> None:
    """Write specs/NAME.yaml, commented, and an example model in models/NAME that builds at once.

    Nothing is overwritten. Replace the example's data.py and model.py by yours.

    \b
      slipway init wines --task tensor
      slipway init digits --task image-classification
      slipway init churn --onnx exports/churn.onnx
    """
    from model_build.errors import UserError
    from slipway import initialize
    from slipway.console import Console

    if model and task not in (None, "tensor"):
        raise UserError("an ONNX file is read as task `tensor`", "leave --task out, and change the spec afterwards")
    if model:
        written = initialize.onnx(root, name, model)
    else:
        written = initialize.example(root, name, task or _asked())
        if train:
            with Console().step("training the example"):
                initialize.train(root, name)
    for path in written:
        click.echo(f"{path.relative_to(root)}{'/' if path.is_dir() else ''}")
    click.echo(f"next: slipway build {name}", err=True)


def _asked() -> str:
    from model_build.errors import UserError

    if not sys.stdin.isatty():
        raise UserError("no task is given", f"give --task, one of {', '.join(TASKS)}, or --onnx FILE")
    for number, (task, holds) in enumerate(TASKS.items(), 1):
        click.echo(f"  {number}  {task}: {holds}", err=True)
    chosen: int = click.prompt("Requests hold", type=click.IntRange(1, len(TASKS)), default=1, err=True)
    return list(TASKS)[chosen - 1]
