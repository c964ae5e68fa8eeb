"""What the bootstrap is told, read in this one place into a frozen object."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import pulumi
from pydantic import AfterValidator, Field, ValidationError

from infra.names import STACK_LIMIT
from infra.settings import SettingsError
from model_build.manifest import Frozen

STRUCTURED = ("environments",)


def _repository(value: str) -> str:
    # It stands in trust conditions, where a wildcard would let others in.
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", value):
        raise ValueError(f"'{value}' is no OWNER/REPOSITORY")
    return value


def _branch(value: str) -> str:
    if not re.fullmatch(r"[\w./-]+", value):
        raise ValueError(f"'{value}' is no name of a branch that a trust condition can bear")
    return value


def _https(value: str) -> str:
    if not re.fullmatch(r"https://[\w.-]+(:\d+)?(/[\w./-]*\w)?", value):
        raise ValueError(f"'{value}' is no https address without a slash at its end")
    return value


def _environment(value: str) -> str:
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", value) or len(value) > STACK_LIMIT or value.startswith("pr-"):
        raise ValueError(
            f"'{value}' is no stack's name: at most {STACK_LIMIT} lower-case letters, digits, hyphens; not pr-…"
        )
    return value


ProviderArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:oidc-provider/[\w./-]+$")]


class Settings(Frozen):
    region: Annotated[str, Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-\d$")]
    account: Annotated[str, Field(pattern=r"^\d{12}$")]
    github: Annotated[str, AfterValidator(_repository)] | None = None
    gitlab: Annotated[str, AfterValidator(_repository)] | None = None
    gitlab_url: Annotated[str, AfterValidator(_https)] = "https://gitlab.com"
    branch: Annotated[str, AfterValidator(_branch)] = "main"
    environments: tuple[Annotated[str, AfterValidator(_environment)], ...] = Field(
        ("dev", "staging", "prod"), min_length=1, max_length=10
    )
    pull_requests: bool = True
    remote_builds: bool = False
    github_provider: ProviderArn | None = None
    gitlab_provider: ProviderArn | None = None


KEYS = tuple(Settings.model_fields)


def read_settings() -> Settings:
    """Raises SettingsError with every problem at once."""
    config = pulumi.Config()
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key in KEYS:
        text = config.get(key)
        if not text:
            continue
        try:
            values[key] = json.loads(text) if key in STRUCTURED else text
        except json.JSONDecodeError:
            problems.append(f"{config.name}:{key}: '{text}' is not a list; write it in Pulumi.<stack>.yaml")
    if not (values.get("github") or values.get("gitlab")):
        problems.append(f"{config.name}:github: whose jobs? run: pulumi config set github OWNER/REPOSITORY")
    if values.get("environments") == []:
        del values["environments"]
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for detail in error.errors():
            key = ".".join(map(str, detail["loc"]))
            said = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "missing":
                said = f"not set; run: pulumi config set {key} VALUE"
            problems.append(f"{config.name}:{key}: {said}")
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings
