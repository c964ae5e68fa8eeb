"""`slipway invoke`: one request to a deployed model, and its answer as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from model_build.errors import UserError


@click.command()
@click.argument("name")
@click.argument("file", required=False)
@click.option("--text", help="Send this text instead of a file.")
@click.option("--content-type", "kind", help="Content type of the body; by the file's ending where it is not given.")
@click.option("--env", "environment", default="local", show_default=True, help="Environment (stack) of the endpoint.")
@click.pass_obj
def command(root: Path, name: str, file: str | None, text: str | None, kind: str | None, environment: str) -> None:
    """Send FILE (`-` for standard input), a text, or the model's own sample to the endpoint of model NAME.

    \b
      slipway invoke news-topics
      slipway invoke news-topics --text "Shares fell after the bank's profit warning"
      slipway invoke fashion shirt.png --env dev
    """
    from slipway import environments
    from slipway.invoke import content_type, predict

    if text is not None:
        body, kind = json.dumps({"inputs": text}).encode(), kind or "application/json"
    elif file == "-":
        if kind is None:
            raise UserError("standard input has no ending to tell its content type", next_step="give --content-type")
        body = sys.stdin.buffer.read()
    elif file is not None:
        if not Path(file).is_file():
            raise UserError(f"{file}: there is no such file", next_step='to send a text, use --text "…"')
        body, kind = Path(file).read_bytes(), kind or content_type(Path(file))
    else:
        body, kind = own_sample(root, name)
    answer = predict(environments.client(root, environment, "sagemaker-runtime"), f"{name}-{environment}", body, kind)
    click.echo(json.dumps(answer, ensure_ascii=False, indent=2))


def own_sample(root: Path, name: str) -> tuple[bytes, str]:
    """Body and content type of a built model's sample. Raises UserError where its spec names none."""
    from model_build.manifest import read_manifest
    from slipway.invoke import sample

    directory = root / "build" / name
    if not directory.exists():
        from model_build import loading

        loading.find([name], root)  # raises where the name is misspelt
    found = sample(read_manifest(directory / "manifest.json"), directory)
    if found is None:
        raise UserError(f"{name} names no sample in its spec", next_step="give a FILE, or --text")
    return found
