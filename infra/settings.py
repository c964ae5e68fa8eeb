"""What a stack is told: its configuration and environment variables, read in this one place.

Everything after it takes the frozen `Settings`, so that no other module asks Pulumi or the environment.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import pulumi
from pulumi.runtime.config import CONFIG
from pydantic import AfterValidator, Field, ValidationError

from infra import remote_builds
from infra.names import STACK_LIMIT
from infra.remote_builds import RemoteBuilds
from model_build.manifest import Frozen

LOCAL, PRODUCTION = "local", "prod"
PULL_REQUEST = re.compile(r"pr-[1-9]\d*")  # stacks of `slipway preview-env`
ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
# Keys whose value is JSON, not text.
STRUCTURED = ("tags", "models", "subnets", "security_groups", "budget_emails", "builds")
OBJECT_TAG_LIMIT = 10  # S3 allows ten tags an object; three are the program's own: stack, model, digest
OWN_TAGS = 3


class SettingsError(Exception):
    """Settings that cannot be used; `problems` holds a line for each."""

    def __init__(self, problems: list[str]):
        super().__init__("\n".join(problems))
        self.problems = problems


def _stack(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", value) or value.endswith("-") or len(value) > STACK_LIMIT:
        raise ValueError(
            f"stack '{value}': endpoints are named MODEL-STACK, so use at most {STACK_LIMIT} lower-case letters, "
            "digits and hyphens; run: pulumi stack rename"
        )
    return value


def _region(value: str) -> str:
    if not re.fullmatch(r"[a-z]{2,4}(-[a-z]+)+-\d", value):
        raise ValueError(f"'{value}' is not a region; run: pulumi config set slipway:region us-east-1")
    if "-iso" in value:
        raise ValueError(f"'{value}' is an isolated region, whose image registries are not known here")
    return value


def _account(value: str) -> str:
    if not re.fullmatch(r"\d{12}", value):
        raise ValueError(f"'{value}' is not an account of twelve digits; quote it in YAML, or leading zeros are lost")
    return value


def _tags(value: dict[str, str]) -> dict[str, str]:
    room = OBJECT_TAG_LIMIT - OWN_TAGS
    if len(value) > room:
        raise ValueError(f"{len(value)} tags; S3 takes {OBJECT_TAG_LIMIT} an object, so at most {room} here")
    for key, text in value.items():
        if key.lower().startswith(("aws:", "slipway:")):
            raise ValueError(f"'{key}': the prefixes aws: and slipway: are taken")
        if not re.fullmatch(r"[\w .:/=+@-]{1,128}", key) or not re.fullmatch(r"[\w .:/=+@-]{0,256}", text):
            raise ValueError(f"'{key}: {text}': letters, digits, spaces and _.:/=+-@ only, as AWS demands")
    return value


def _inside(value: str) -> str:
    path = Path(value)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"'{value}' must be a path inside the project")
    return value


def _made_or_named(what: str, pattern: str) -> Callable[[str], str]:
    """`true`, for one that the stack makes, or the ARN of one that exists."""

    def check(value: str) -> str:
        if value != MADE and not re.fullmatch(pattern, value):
            raise ValueError(f"'{value}' is neither true nor the ARN of {what}")
        return value

    return check


def _id(prefix: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not re.fullmatch(prefix + r"-[0-9a-f]{8,17}", value):
            raise ValueError(f"'{value}' is no id such as {prefix}-0a1b2c3d")
        return value

    return check


def _email(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError(f"'{value}' is no e-mail address")
    return value


MADE = "true"
KeyOption = Annotated[
    str, AfterValidator(_made_or_named("a KMS key", r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+"))
]
TopicOption = Annotated[
    str, AfterValidator(_made_or_named("an SNS topic", r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w-]+"))
]
BoundaryArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:policy/[\w+=,.@/-]+$")]


class Settings(Frozen):
    """Facts about the account and this run. `endpoint_url` is set on stacks in the local cloud and nowhere else."""

    stack: Annotated[str, AfterValidator(_stack)]
    root: Path
    region: Annotated[str, AfterValidator(_region)]
    account: Annotated[str, AfterValidator(_account)] | None = None
    cloud: Literal["aws", "local"] = "aws"
    plugin: Literal["own", "official"] = "own"
    permissions_boundary: BoundaryArn | None = None
    tags: Annotated[dict[str, str], AfterValidator(_tags)] = Field(default_factory=dict)
    build: Annotated[str, AfterValidator(_inside)] = "build"
    models: tuple[str, ...] = ()
    noncurrent_days: int = Field(30, ge=1, le=36500)
    kms: KeyOption | None = None
    subnets: tuple[Annotated[str, AfterValidator(_id("subnet"))], ...] = Field((), max_length=16)
    security_groups: tuple[Annotated[str, AfterValidator(_id("sg"))], ...] = Field((), max_length=5)
    access_logs: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None = None
    object_lock_days: int | None = Field(None, ge=1, le=36500)
    oss_buckets: Literal["made", "existing"] = "made"
    alarm_topic: TopicOption | None = None
    dashboards: bool | None = None
    monthly_budget: float | None = Field(None, gt=0)
    budget_emails: tuple[Annotated[str, AfterValidator(_email)], ...] = Field((), max_length=10)
    builds: RemoteBuilds | None = None
    endpoint_url: str | None = None

    @property
    def local(self) -> bool:
        """Whether the stack is in the local cloud: `local` itself, or a rehearsal of another one on this machine."""
        return self.cloud == LOCAL

    @property
    def production(self) -> bool:
        return self.stack == PRODUCTION

    @property
    def preview(self) -> bool:
        """Whether it is a pull request's own stack: as small as can be, and nothing in it is kept."""
        return PULL_REQUEST.fullmatch(self.stack) is not None

    @property
    def disposable(self) -> bool:
        """Whether a destroy takes what was stored with it."""
        return self.local or self.preview

    @property
    def watched(self) -> bool:
        """Whether endpoints have alarms and automatic rollback where their specs say nothing: everywhere on AWS.

        Adding them to an endpoint later replaces it, so they are there from the first deployment.
        """
        return not (self.local or self.preview)

    @property
    def charted(self) -> bool:
        """Whether each model has a dashboard."""
        return self.dashboards if self.dashboards is not None else self.watched

    @property
    def build_directory(self) -> Path:
        return self.root / self.build

    @property
    def specs_directory(self) -> Path:
        return self.root / "specs"


KEYS = tuple(name for name in Settings.model_fields if name not in {"stack", "root", "endpoint_url"})


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The running stack's settings. Raises SettingsError with every problem at once."""
    stack = pulumi.get_stack()
    problems: list[str] = []
    values = _configuration(problems)
    if stack == LOCAL and values.setdefault("cloud", LOCAL) != LOCAL:
        problems.append("slipway:cloud: the stack 'local' is on this machine; run: pulumi config rm slipway:cloud")
    local = LOCAL in (stack, values.get("cloud"))
    endpoint_url = _endpoint(stack, local, environment, problems)
    if not local and "account" not in values:
        problems.append(
            f"slipway:account: say which account the stack '{stack}' lives in, so that no other is touched; "
            "run: pulumi config set slipway:account 123456789012"
        )
    try:
        settings = Settings.model_validate(
            {**values, "stack": stack, "root": pulumi.get_root_directory(), "endpoint_url": endpoint_url}
        )
    except ValidationError as error:
        problems += [_problem(detail) for detail in error.errors()]
        raise SettingsError(problems) from None
    problems += _combined(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _combined(settings: Settings) -> Iterator[str]:
    """What keys do not say together."""
    if settings.plugin != "own" and not settings.local:
        yield (
            "slipway:plugin: a stack on AWS has AWS's own plugin anyway, the key is of the local cloud; run: pulumi "
            "config rm slipway:plugin"
        )
    if bool(settings.subnets) != bool(settings.security_groups):
        yield (
            "slipway:subnets, slipway:security_groups: a network needs both; give both lists in Pulumi.<stack>.yaml, "
            "or neither"
        )
    if settings.builds:
        yield from (f"slipway:builds: {line}" for line in remote_builds.problems(settings.builds))
    if settings.monthly_budget and not (settings.budget_emails or settings.alarm_topic):
        yield (
            "slipway:monthly_budget: nobody would be told; give slipway:budget_emails, or run: pulumi config set "
            "slipway:alarm_topic true"
        )


def _configuration(problems: list[str]) -> dict[str, Any]:
    config = pulumi.Config()
    prefix = f"{config.name}:"
    given = [key.removeprefix(prefix) for key in CONFIG.get() if key.startswith(prefix)]
    for key in sorted(set(given) - set(KEYS)):
        problems.append(f"{prefix}{key}: unknown key; known: {', '.join(KEYS)}; run: pulumi config rm {prefix}{key}")
    values: dict[str, Any] = {}
    for key in KEYS:
        text = config.get(key)
        if not text:  # an empty text is what Pulumi.yaml gives a key that is not set
            continue
        try:
            values[key] = json.loads(text) if key in STRUCTURED else text
        except json.JSONDecodeError:
            problems.append(f"{prefix}{key}: '{text}' is not a list or mapping; write it in Pulumi.<stack>.yaml")
    return values


def _endpoint(stack: str, local: bool, environment: Mapping[str, str], problems: list[str]) -> str | None:
    """The local AWS's URL for a stack that is there; None for any other, which must not be sent there by accident."""
    url = environment.get(ENDPOINT_VARIABLE, "")
    if not local:
        if url and _is_loopback(url):
            problems.append(
                f"{ENDPOINT_VARIABLE} is {url}, this machine, but the stack '{stack}' is on AWS; "
                f"run: unset {ENDPOINT_VARIABLE} AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"
            )
        return None
    if not url:
        problems.append(
            f"{ENDPOINT_VARIABLE} is not set, so the stack '{stack}' knows no local AWS; start it with `make up` or "
            '`slipway local start`, then run: eval "$(.venv/bin/slipway env)"'
        )
    elif not _is_loopback(url):
        problems.append(
            f"{ENDPOINT_VARIABLE} is {url}, but the stack '{stack}' deploys to this machine alone "
            '(http://127.0.0.1:PORT); run: eval "$(.venv/bin/slipway env)"'
        )
    return url


def _is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def _problem(detail: Any) -> str:
    key, *rest = (str(part) for part in detail["loc"])
    said = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        said = f"not set; run: pulumi config set slipway:{key} VALUE"
    if key == "stack":
        return str(said)
    return f"slipway:{'.'.join([key, *rest])}: {said}"
