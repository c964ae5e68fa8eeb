"""`slipway pr-comment`: what a change does to models, infrastructure and the bill, as one comment."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.option("--base", default="origin/main", show_default=True, help="The branch that the change is made for.")
@click.option("--env", "environment", default="dev", show_default=True, help="Environment (stack) to preview.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the Markdown there as well.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML page there.")
@click.option("--post", is_flag=True, help="Write it to the pull request, or edit the earlier one in place.")
@click.option("--number", type=int, help="Of the pull request, where the job's variables do not tell it.")
@click.option("--preview/--no-preview", default=True, show_default=True, help="Ask the engine what would change.")
@click.option("--policies/--no-policies", default=True, show_default=True, help="Hold the rules of infra/policy.")
@click.pass_obj
def command(
    root: Path,
    base: str,
    environment: str,
    output: Path | None,
    page: Path | None,
    post: bool,
    number: int | None,
    preview: bool,
    policies: bool,
) -> None:
    """Build the change and the branch that it is made for, compare them, and tell all of it in one screen of Markdown.

    Figures of each model before and after, gates, what Pulumi would do and whom it interrupts, costs, policies,
    warnings. Exits 1 where it should not be merged: a build, a gate, the preview or a mandatory policy failed.

    Without --post it is printed. With it, GITHUB_TOKEN (or GITLAB_TOKEN) must allow to write to pull requests.

    \b
      slipway pr-comment --base origin/main --env dev
      slipway pr-comment --env local --html review.html
      slipway pr-comment --post
    """
    from model_build.errors import UserError
    from slipway.console import Console
    from slipway.review import comment, forge
    from slipway.review.gather import review
    from slipway.review.page import html

    place = None
    if post:  # before minutes of work
        place, known = forge.of_environment(os.environ)
        number = number or known
        if number is None:
            raise UserError("the job does not say which pull request it is of", "give --number N")
    found = review(root, base, environment, Console(), preview=preview, policies=policies and preview)
    text = comment.markdown(found)
    if output:
        output.write_text(text, encoding="utf-8")
    if page:
        page.write_text(html(text, f"Slipway review of {environment}"), encoding="utf-8")
    if place is not None and number is not None:
        address = forge.upsert_comment(place, number, comment.marker(environment), text)
        click.echo(address)
    elif not output:
        click.echo(text)
    if found.blocked:
        raise SystemExit(1)
