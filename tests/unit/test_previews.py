"""Preview environments: what their stack file holds, whose time is over, and what is never touched."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_build.errors import UserError
from slipway import previews
from slipway.console import Console
from slipway.review import forge

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DEV: dict[str, Any] = {
    "secretsprovider": "awskms://alias/slipway-state",
    "encryptedkey": "of dev",
    "config": {
        "pulumi:disable-default-providers": ["aws"],
        "slipway:region": "eu-west-1",
        "slipway:account": "012345678901",
        "slipway:kms": "true",
        "slipway:subnets": ["subnet-0a1b2c3d"],
        "slipway:object_lock_days": 30,
        "slipway:monthly_budget": 100,
        "slipway:alarm_topic": "true",
        "slipway:tags": {"environment": "dev", "team": "search"},
    },
}


class FakeStack:
    """Answers as the engine does, and keeps what it was told to do."""

    def __init__(self, tags: dict[str, dict[str, str]]) -> None:
        self.tags = tags
        self.calls: list[tuple[str, ...]] = []

    def require(self, *arguments: str) -> str:
        self.calls.append(arguments)
        if arguments[:2] == ("stack", "ls"):
            return json.dumps([{"name": name} for name in self.tags])
        if arguments[:3] == ("stack", "tag", "ls"):
            return json.dumps(self.tags[arguments[-1]])
        if arguments[:3] == ("stack", "tag", "set"):
            self.tags[arguments[-1]][arguments[3]] = arguments[4]
        if arguments[:2] == ("stack", "init"):
            self.tags[arguments[2]] = {}
        if arguments[:2] == ("stack", "rm"):
            del self.tags[arguments[-1]]
        return ""

    def show(self, *arguments: str, console: Console) -> None:
        self.calls.append(arguments)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.dev.yaml").write_text(yaml.safe_dump(DEV))
    return tmp_path


def until(moment: datetime) -> dict[str, str]:
    return {previews.TAG: moment.isoformat()}


def test_its_file_is_that_of_the_other_environment_without_what_outlives_it(root: Path) -> None:
    content = yaml.safe_load(previews.write_stack_file(root, "pr-7", "dev").read_text())
    assert content == {
        "secretsprovider": "awskms://alias/slipway-state",
        "config": {
            "pulumi:disable-default-providers": ["aws"],
            "slipway:region": "eu-west-1",
            "slipway:account": "012345678901",
            "slipway:subnets": ["subnet-0a1b2c3d"],
            "slipway:tags": {"environment": "pr-7", "team": "search"},
        },
    }


def test_a_key_of_the_accounts_own_is_kept(root: Path) -> None:
    arn = "arn:aws:kms:eu-west-1:012345678901:key/1"
    (root / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": {"slipway:kms": arn}}))
    assert arn in previews.write_stack_file(root, "pr-7", "dev").read_text()


def test_what_is_over_goes_and_all_else_stays_with_its_reason() -> None:
    stack: Any = FakeStack(
        {
            "dev": until(NOW - timedelta(days=1)),
            "pr-1": until(NOW - timedelta(minutes=1)),
            "pr-2": until(NOW + timedelta(hours=1)),
            "pr-3": {},
            "pr-4": {previews.TAG: "tomorrow"},
            "pr-5-mine": until(NOW - timedelta(days=1)),
            "pr-07": until(NOW - timedelta(days=1)),
        }
    )
    found = dict(previews.expired(stack, NOW))
    assert {name for name, reason in found.items() if not reason} == {"pr-1"}
    assert set(found) == {"pr-1", "pr-2", "pr-3", "pr-4"}
    assert "until 2026-11-24 13:00 UTC" in found["pr-2"]
    assert "did not make it" in found["pr-3"]


def test_a_second_up_makes_no_second_stack_and_lets_the_first_live_longer(root: Path) -> None:
    stack: Any = FakeStack({})
    first = previews.create(root, stack, "pr-7", "dev", timedelta(hours=1))
    second = previews.create(root, stack, "pr-7", "dev", timedelta(hours=9))
    made = [call for call in stack.calls if call[:2] == ("stack", "init")]
    assert made == [("stack", "init", "pr-7", "--no-select", "--secrets-provider", "awskms://alias/slipway-state")]
    assert second - first >= timedelta(hours=8)
    assert previews.expiry(stack, "pr-7") == second


def test_a_destroyed_one_leaves_nothing_and_a_second_time_nothing_is_done(root: Path) -> None:
    stack: Any = FakeStack({"pr-7": {}, "dev": {}})
    assert previews.destroy(root, stack, "pr-7", "dev", Console())
    assert list(stack.tags) == ["dev"]
    assert not (root / "Pulumi.pr-7.yaml").exists()
    stack.calls.clear()
    assert not previews.destroy(root, stack, "pr-7", "dev", Console())
    assert stack.calls == [("stack", "ls", "--json")]


@pytest.mark.parametrize("name", ["dev", "prod", "pr-", "pr-0", "pr-1x", "xpr-1", "pr-1\n"])
def test_nothing_but_a_preview_is_ever_destroyed_here(root: Path, name: str) -> None:
    stack: Any = FakeStack({name: {}})
    with pytest.raises(UserError, match="no preview environment"):
        previews.destroy(root, stack, name, "dev", Console())
    assert stack.calls == []


@pytest.mark.parametrize(
    ("text", "lifetime"), [("72h", timedelta(hours=72)), ("3d", timedelta(days=3)), ("90s", timedelta(seconds=90))]
)
def test_a_time_to_live_is_read(text: str, lifetime: timedelta) -> None:
    assert previews.lifetime(text) == lifetime


@pytest.mark.parametrize("text", ["", "3", "0h", "-1h", "1w", "3 d"])
def test_a_time_to_live_that_is_none_says_how_to_give_one(text: str) -> None:
    with pytest.raises(UserError, match="no time to live"):
        previews.lifetime(text)


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({"GITHUB_REF": "refs/pull/12/merge"}, 12),
        ({"GITHUB_REF": "refs/heads/main"}, None),
        ({"CI_MERGE_REQUEST_IID": "7"}, 7),
        ({}, None),
    ],
)
def test_a_job_tells_its_pull_request_without_a_token(variables: dict[str, str], number: int | None) -> None:
    assert forge.number_of_environment(variables) == number


def test_the_projects_git_ignores_the_files_of_previews() -> None:
    checkout = Path(__file__).parents[2]
    assert subprocess.run(["git", "check-ignore", "-q", "Pulumi.pr-7.yaml"], cwd=checkout).returncode == 0
    assert subprocess.run(["git", "check-ignore", "-q", "Pulumi.dev.yaml"], cwd=checkout).returncode == 1
