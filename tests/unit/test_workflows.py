"""The CI workflows are thin and safe: commands of this project, pinned actions, no permissions but those they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from slipway.cli import COMMANDS, Commands, slipway

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GITLAB = ROOT / ".gitlab-ci.yml"
COMMAND = re.compile(r"\.venv/bin/slipway ([a-z-]+)([^\n]*)")


def read(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", [*WORKFLOWS, GITLAB], ids=lambda path: path.name)
def test_every_slipway_command_of_a_workflow_exists_with_its_options(path: Path) -> None:
    assert isinstance(slipway, Commands)
    for name, rest in COMMAND.findall(path.read_text(encoding="utf-8")):
        assert name in COMMANDS
        command = slipway.get_command(None, name)  # type: ignore[arg-type]
        if isinstance(command, click.Group):
            command = command.commands.get(rest.split()[0])
        assert command is not None
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_of_others_is_pinned_by_its_commit(path: Path) -> None:
    for used in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
        assert used.startswith("./") or re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_starts_with_no_more_than_the_right_to_read(path: Path) -> None:
    assert read(path)["permissions"] in ({}, {"contents": "read"})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_expression_is_pasted_into_a_shell(path: Path) -> None:
    """A branch's or a title's text would be run: it has to come in by a variable."""
    for job in read(path)["jobs"].values():
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", "")


def test_no_workflow_knows_a_long_lived_key() -> None:
    for path in (*WORKFLOWS, GITLAB):
        assert not re.search(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)|secrets\.", path.read_text(encoding="utf-8"))


def test_both_forges_run_the_same_commands() -> None:
    def commands(*paths: Path) -> set[str]:
        return {name for path in paths for name, _ in COMMAND.findall(path.read_text(encoding="utf-8"))}

    assert commands(*WORKFLOWS) == commands(GITLAB)
    assert commands(GITLAB) == {"check", "doctor", "pr-comment", "build", "deploy", "drift", "preview-env"}
