"""The `slipway` command: finds the project and runs one module of `commands/`, loaded only then.

Exit codes: 0 done, 1 yours to mend (one clear message), 3 a fault of ours (the traceback goes to a log file),
130 interrupted.
"""

from __future__ import annotations

import datetime
import importlib
import sys
import traceback
from pathlib import Path

import click

# Name → what `--help` lists, so that listing the commands imports none of them.
COMMANDS = {
    "init": "Write the spec and the example code of a new model.",
    "check": "Validate specs: every problem at once, with file, line and key.",
    "migrate": "Upgrade specs of an older version, with the difference to read first.",
    "build": "Optimize, measure, gate and package models.",
    "up": "Build everything and run it on this machine, with one prediction each.",
    "deploy": "Deploy what was built to an environment on AWS.",
    "publish": "Copy what was built to the stores that specs mirror it to.",
    "restore": "Bring back what was published, every digest verified.",
    "down": "Destroy the local stack and stop what was started.",
    "invoke": "Send a request to a deployed model.",
    "batch": "Run a deployed model over many files at once.",
    "diagnose": "Measure what runs against what was built: which gate is missed, what would hold?",
    "rehearse": "Roll a new version out under traffic, on a copy of the local environment.",
    "loadtest": "Find what one instance bears, for `autoscaling.target: auto`.",
    "local": "Start, stop and look at the local AWS.",
    "env": "Print the variables with which plain pulumi works locally.",
    "cache": "Say what builds keep, and remove what is not needed any more.",
    "convert": "Convert a source to another platform, and say what that loses and gains.",
    "export-state": "Write a source's weights as safetensors, HDF5, joblib or pickle.",
    "cost": "Say what the models cost a month, and check their budgets.",
    "prices": "Show or refresh the price table that costs are counted with.",
    "images": "Look up AWS's inference images, or refresh their table.",
    "image": "Build and push our slim serving image (`image: own`).",
    "pr-comment": "Tell what a change does to models, infrastructure and the bill.",
    "preview-env": "Give a pull request its own small endpoints, and take them down.",
    "drift": "Find what was changed in the cloud past the specs.",
    "doctor": "Check the machine and the account before anything is deployed.",
    "schema": "Write the specs' JSON schema and key tables.",
    "setup": "Get the Pulumi engine.",
}

EPILOG = """\b
Examples:
  slipway check                  validate every spec
  slipway build fashion          build one model
  slipway up                     build, deploy locally, predict
  slipway invoke fashion         ask the deployed model

The specs are in specs/; docs/spec.md explains every key.
"""


class Commands(click.Group):
    """Imports a command's module when it is asked for: `slipway check` must not pay for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"slipway.commands.{cmd_name.replace('-', '_')}").command
        command.name = cmd_name
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = "".join(f" Did you mean '{name}'?" for name in get_close_matches(args[0], COMMANDS, 1))
            ctx.fail(f"No such command '{args[0]}'.{close}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slipway", prog_name="slipway", message="%(prog)s %(version)s")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder; the nearest one above that holds Pulumi.yaml, if not given.",
)
@click.pass_context
def slipway(context: click.Context, root: Path | None) -> None:
    """One YAML file a model: optimized, measured, gated, packaged and launched."""
    arguments = context.obj or ()
    if root is None and {"-h", "--help"}.isdisjoint(arguments):  # help is given outside of a project too
        root = project_root(Path.cwd())
    context.obj = (root or Path.cwd()).resolve()


def project_root(start: Path) -> Path:
    """The nearest folder, from `start` upwards, that holds Pulumi.yaml. Raises UserError."""
    for folder in (start, *start.parents):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    from model_build.errors import UserError

    raise UserError(
        f"{start} is not inside a Slipway project: no folder above holds a Pulumi.yaml",
        next_step="change to the project's folder, or give --root DIR",
    )


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs a command line and gives its exit code; everything that goes wrong is told on standard error."""
    from model_build.errors import UserError
    from model_build.manifest import ManifestError

    try:
        code = slipway.main(arguments, prog_name="slipway", standalone_mode=False, obj=arguments)
        return code if isinstance(code, int) else 0
    except (UserError, ManifestError) as error:
        tell(str(error))
        return 1
    except click.ClickException as error:
        error.show()
        return 1
    except (click.Abort, KeyboardInterrupt):
        tell("interrupted")
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
    except Exception as error:
        tell(f"a fault of Slipway's own, not yours: {type(error).__name__}: {error}\n  {_log(arguments)}")
        return 3


def tell(message: str) -> None:
    """A message for people, on standard error; in colour only on a terminal (click drops it elsewhere)."""
    click.echo(f"{click.style('slipway:', fg='red', bold=True)} {message}", err=True)


def _log(arguments: list[str]) -> str:
    """Writes the current traceback to a log file, and says where it is."""
    now = datetime.datetime.now(datetime.UTC)
    report = f"{now.isoformat()} slipway {' '.join(arguments)}\n{traceback.format_exc()}\n"
    folders = (Path.cwd(), *Path.cwd().parents)
    root = next((folder for folder in folders if (folder / "Pulumi.yaml").is_file()), None)
    if root is None:
        return report
    path = root / ".slipway" / f"fault-{now:%Y%m%dT%H%M%S%f}.log"
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(report, encoding="utf-8")
    except OSError as error:
        return f"(no log could be written: {error})\n{report}"
    return f"The details are in {path}; please report them."


if __name__ == "__main__":
    main()
