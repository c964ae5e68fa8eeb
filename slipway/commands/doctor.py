"""`slipway doctor`: looks at the machine and the account before anything is deployed."""

from __future__ import annotations

import json
from pathlib import Path

import click

MARKS = {"good": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red"), "skipped": ("·", None)}


@click.command()
@click.option("--env", "environment", default="local", show_default=True, help="Environment (stack) to look at.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON on standard output.")
@click.pass_obj
def command(root: Path, environment: str, as_json: bool) -> None:
    """Check what a deployment stands on, and say how to mend what is missing. Changes nothing.

    This machine: disk, engine, built models. The account, for an environment on AWS: the stack's settings and its
    state, the region, credentials, the clock, quotas for the instances, images. Exits 1 where there is a problem.

    \b
      slipway doctor
      slipway doctor --env prod
    """
    from slipway.doctor import examine, worst

    findings = []
    for finding in examine(root, environment):
        findings.append(finding)
        if not as_json:
            mark, colour = MARKS[finding.state]
            click.echo(f"{click.style(mark, fg=colour)} {click.style(finding.check, bold=True)}: {finding.detail}")
            if finding.next_step:
                click.echo(f"    next: {finding.next_step}")
    if as_json:
        shown = [finding.as_json() for finding in findings]
        click.echo(json.dumps({"format": 1, "environment": environment, "findings": shown}, indent=2))
    if worst(findings) == "problem":
        raise SystemExit(1)
