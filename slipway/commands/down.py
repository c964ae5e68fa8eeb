"""`slipway down`: destroys the local stack and stops what `slipway up` started."""

from __future__ import annotations

from pathlib import Path

import click

from slipway.console import Console


@click.command()
@click.pass_obj
def command(root: Path) -> None:
    """Destroy the local stack and stop the local AWS. Built models stay in build/."""
    from slipway.local import STACK, Local, Stack, client, ensure_engine

    console = Console()
    local = Local(root)
    server = local.server()
    lost = False
    recorded = (local.directory / "state" / ".pulumi" / "stacks").is_dir()
    if recorded:
        engine = ensure_engine(console)
        stack = Stack(local, engine.pulumi, local.process_environment(engine, server.endpoint if server else None))
        with console.step("pulumi destroy"):
            stack.select()
            if server is None or not stack.recorded_on(server.endpoint):
                # What the stack describes does not run: record and kept state go, so that neither comes back alone.
                lost = True
                stack.require("stack", "rm", STACK, "--yes", "--force", "--preserve-config")
            else:
                stack.recover(client("sagemaker", server.endpoint))
                stack.show("destroy", "--yes", "--skip-preview", "--stack", STACK, console=console)
                stack.require("stack", "rm", STACK, "--yes", "--preserve-config")
    with console.step("local AWS stopped"):
        local.stop()
        if lost:
            local.forget()
