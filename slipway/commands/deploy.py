"""`slipway deploy`: what was built, to one environment, and a prediction from every endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from slipway.console import Console
    from slipway.local import Stack


@click.command()
@click.option("--env", "environment", required=True, help="Environment (stack) to deploy to.")
@click.pass_obj
def command(root: Path, environment: str) -> None:
    """Deploy the models in build/ to an environment on AWS, as they are: nothing is built here.

    So the same artifacts go from one environment to the next. An artifact that was not built from this commit, that
    missed a gate, or that is not what its manifest says, is refused before anything is changed. What has mirrors is
    published there first. Then each endpoint is asked for a prediction and told by the digest that it runs.

    Credentials, region and state are those of plain `pulumi up`; `slipway doctor --env ENV` looks at them.
    For this machine there is `slipway up`, which also builds.

    \b
      slipway build && slipway deploy --env dev
    """
    from model_build.errors import UserError
    from slipway import environments, promotion, stacks
    from slipway.console import Console
    from slipway.local import STACK, Local, Stack, ensure_engine, install_provider

    if environment == STACK:
        raise UserError("`local` is deployed together with what it stands on", "run: slipway up")
    promotion.require_committed(root)
    console = Console()
    engine = ensure_engine(console)
    stack = Stack(Local(root), engine.pulumi, environments.variables(root, environment, engine))
    if environments.is_local(root, environment):
        install_provider(stack, console)
    secrets = stacks.read(root, environment).secrets_provider
    stack.require("stack", "select", environment, "--create", *(["--secrets-provider", secrets] if secrets else []))
    waiting = _mirrored(root, environment, console)
    lines = deployed(root, environment, stack, console)
    _publish_to(root, waiting, console)
    click.echo("\n".join(lines))


def _mirrored(root: Path, environment: str, console: Console) -> list[tuple[str, str]]:
    """Publishes the stack's models to their mirrors; gives those whose bucket is not there: the stack may make it."""
    from slipway import environments, publication, stacks

    if environments.is_local(root, environment):
        return []
    wanted = stacks.read(root, environment).models
    names = [name for name in publication.built(root) if not wanted or name in wanted]
    return publication.mirrored(root, environment, names, console)


def _publish_to(root: Path, waiting: list[tuple[str, str]], console: Console) -> None:
    from model_build.errors import UserError
    from slipway import publication
    from stores.store import NoBucket

    for name, url in waiting:
        try:
            publication.to_stores(root, name, [url], console)
        except NoBucket as error:
            raise UserError(
                f"{name} is deployed, but not published: {error}", "make the bucket, then run this again"
            ) from None


def deployed(root: Path, environment: str, stack: Stack, console: Console) -> list[str]:
    """Runs `pulumi up` on a stack that exists; a line for each endpoint, which was asked. Raises UserError."""
    from slipway import environments

    with console.step(f"pulumi up -s {environment}"):
        options = ("--yes", "--skip-preview", "--suppress-outputs", "--stack", environment)
        stack.show("up", *options, console=console)
    endpoints = stack.outputs_of(environment)["endpoints"]
    with console.step("one prediction from each endpoint"):
        control, runtime = (environments.client(root, environment, one) for one in ("sagemaker", "sagemaker-runtime"))
        return [
            _try_out(root, environment, name, endpoint, control, runtime)
            for name, endpoint in sorted(endpoints.items())
        ]


def _try_out(root: Path, environment: str, name: str, endpoint: str, control: Any, runtime: Any) -> str:
    """A line that says what runs and what it answered. Raises UserError where it is not what was built."""
    from model_build.errors import UserError
    from model_build.manifest import read_manifest
    from slipway.invoke import answered, predict, sample
    from slipway.live import running_digest

    directory = root / "build" / name
    manifest = read_manifest(directory / "manifest.json")
    running = running_digest(control, endpoint)
    if running != manifest.artifact.sha256:
        raise UserError(
            f"{endpoint} runs the artifact {running}, not {manifest.artifact.sha256}, which was deployed",
            f"what did AWS say? aws sagemaker describe-endpoint --endpoint-name {endpoint}",
        )
    said = ""
    found = sample(manifest, directory)
    if found and manifest.deployment(environment).endpoint != "async":  # which answers into S3, in its own time
        said = answered(predict(runtime, endpoint, *found))
    return f"{endpoint}: {running[:12]} {said}".rstrip()
