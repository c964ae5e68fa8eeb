"""`slipway drift`: what was changed in the cloud past the specs."""

from __future__ import annotations

import os
from pathlib import Path

import click

DRIFT = 2


@click.command()
@click.option("--env", "environment", default="local", show_default=True, help="Environment (stack) to look at.")
@click.option("--post", is_flag=True, help="Open an issue, or edit the open one; close it where nothing drifted.")
@click.pass_obj
def command(root: Path, environment: str, post: bool) -> None:
    """Compare the cloud with the stack's state, and change neither.

    What autoscaling does is no drift. Exits 0 where nothing drifted, 2 where something did, 1 where it could not tell.
    --post needs GITHUB_TOKEN (or GITLAB_TOKEN) of a job that may write issues.

    \b
      slipway drift --env prod
      slipway drift --env prod --post
    """
    from slipway import drift
    from slipway.console import Console
    from slipway.review import forge

    place = forge.of_environment(os.environ)[0] if post else None  # before the work
    console = Console()
    with console.step(f"pulumi refresh --preview-only -s {environment}"):
        found = drift.find(root, environment, console)
    for one in found:
        click.echo(f"{one.what} {one.name}: " + ("is gone" if one.operation == "delete" else ", ".join(one.properties)))
    if place is not None:
        if found:
            text = drift.markdown(environment, found)
            title = f"Drift in {environment}"
            click.echo(forge.upsert_issue(place, drift.LABEL, drift.marker(environment), title, text), err=True)
        else:
            for issue in place.issues(drift.LABEL):
                if issue.text.startswith(drift.marker(environment)):
                    place.close(issue)
    if found:
        click.echo(f"next: pulumi up --refresh -s {environment}, or bring the change into the spec", err=True)
        raise SystemExit(DRIFT)
    click.echo(f"✓ {environment}: nothing drifted")
