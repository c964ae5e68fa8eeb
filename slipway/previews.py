"""Preview environments: a pull request's own stack `pr-N`, which says itself until when it is needed.

The stack's tag `slipway:expires` is its only record: whoever finds the stack knows whether it may go, with no list
beside it that could be lost. A stack without the tag, or of another name, is nobody's to sweep.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from model_build.deployment import seconds
from model_build.errors import UserError
from slipway import environments, stacks
from slipway.local import Local, Stack, ensure_engine, install_provider

if TYPE_CHECKING:
    from slipway.console import Console

TAG = "slipway:expires"
NAME = re.compile(r"pr-([1-9]\d*)")
# What a preview does without: it would outlive the stack, cost by itself, or tell people of nothing.
LEFT_OUT = ("access_logs", "alarm_topic", "budget_emails", "dashboards", "monthly_budget", "object_lock_days")


def stack_name(number: int) -> str:
    return f"pr-{number}"


def lifetime(text: str) -> timedelta:
    """Of `72h` or `3d`. Raises UserError."""
    if re.fullmatch(r"[1-9]\d{0,2}d", text):
        return timedelta(days=int(text[:-1]))
    if re.fullmatch(r"[1-9]\d{0,4}[smh]", text):
        return timedelta(seconds=seconds(text))
    raise UserError(f"'{text}' is no time to live", "give hours or days: --ttl 72h, --ttl 3d")


def write_stack_file(root: Path, name: str, like: str) -> Path:
    """`Pulumi.pr-N.yaml`: the account, region and network of the environment `like`. Raises UserError."""
    stacks.read(root, like)  # says what is wrong with it
    content: dict[str, Any] = yaml.safe_load((root / f"Pulumi.{like}.yaml").read_text("utf-8"))
    config = {
        key: value
        for key, value in content.get("config", {}).items()
        if key.removeprefix(stacks.PREFIX) not in LEFT_OUT
        # A key of its own would be billed for the month that AWS takes to delete it.
        and not (key == "slipway:kms" and str(value).lower() == "true")
    }
    tags = config.get("slipway:tags")
    if isinstance(tags, dict) and "environment" in tags:
        config["slipway:tags"] = tags | {"environment": name}
    kept = {key: content[key] for key in ("secretsprovider",) if key in content}
    path = root / f"Pulumi.{name}.yaml"
    path.write_text(
        f"# Written by `slipway preview-env`, after Pulumi.{like}.yaml.\n"
        + yaml.safe_dump(kept | {"config": config}, sort_keys=False),
        encoding="utf-8",
    )
    return path


def opened(root: Path, like: str, console: Console) -> Stack:
    """The project's state where the environment `like` has its own. Raises UserError."""
    engine = ensure_engine(console)
    stack = Stack(Local(root), engine.pulumi, environments.variables(root, like, engine))
    if environments.is_local(root, like):
        install_provider(stack, console)
    return stack


def existing(stack: Stack) -> list[str]:
    """Names of all stacks of the project. Raises UserError."""
    # A file-based backend writes ORGANIZATION/PROJECT/ before a stack of another project.
    return [one["name"].rpartition("/")[2] for one in json.loads(stack.require("stack", "ls", "--json"))]


def expiry(stack: Stack, name: str) -> datetime | None:
    """Until when a preview is needed; None where it is none of `slipway preview-env`. Raises UserError."""
    tags: dict[str, str] = json.loads(stack.require("stack", "tag", "ls", "--json", "--stack", name))
    try:
        return datetime.fromisoformat(tags[TAG])
    except (KeyError, ValueError):
        return None


def create(root: Path, stack: Stack, name: str, like: str, ttl: timedelta) -> datetime:
    """Makes the stack where there is none, and says anew until when it is needed. Raises UserError."""
    write_stack_file(root, name, like)
    if name not in existing(stack):
        secrets = stacks.read(root, like).secrets_provider
        stack.require("stack", "init", name, "--no-select", *(["--secrets-provider", secrets] if secrets else []))
    expires = (datetime.now(UTC) + ttl).replace(microsecond=0)
    stack.require("stack", "tag", "set", TAG, expires.isoformat(), "--stack", name)
    return expires


def destroy(root: Path, stack: Stack, name: str, like: str, console: Console) -> bool:
    """Destroys a preview and forgets its stack; False where there is none. Raises UserError."""
    if not NAME.fullmatch(name):
        raise UserError(f"'{name}' is no preview environment, so it is not taken down here", "pulumi destroy does that")
    if name not in existing(stack):
        (root / f"Pulumi.{name}.yaml").unlink(missing_ok=True)
        return False
    write_stack_file(root, name, like)
    with console.step(f"pulumi destroy -s {name}"):
        stack.show("destroy", "--yes", "--skip-preview", "--suppress-outputs", "--stack", name, console=console)
        stack.require("stack", "rm", "--yes", "--stack", name)
    (root / f"Pulumi.{name}.yaml").unlink(missing_ok=True)
    return True


def expired(stack: Stack, now: datetime) -> Iterator[tuple[str, str]]:
    """Each preview's name, and why it stays; empty where its time is over. Raises UserError."""
    for name in existing(stack):
        if not NAME.fullmatch(name):
            continue
        try:
            until = expiry(stack, name)
        except UserError as error:  # taken down meanwhile
            yield name, str(error)
            continue
        if until is None:
            yield name, f"has no tag {TAG}, so `slipway preview-env` did not make it"
        elif until > now:
            yield name, f"is needed until {until:%Y-%m-%d %H:%M} UTC"
        else:
            yield name, ""
