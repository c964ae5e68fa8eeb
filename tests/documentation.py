"""The commands that the documentation tells people to run, taken out of its pages and held against the programs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import botocore.session
import click
from botocore import xform_name

from slipway import cli

ROOT = Path(__file__).parents[1]
PLACES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "toolchain/*.md", "examples/**/*.md")
PAGES = sorted(page for place in PLACES for page in ROOT.glob(place))
OURS = ("slipway", "make", "python", "pulumi", "aws")
OTHERS = {
    *("[", "apt-get", "cat", "cd", "cp", "curl", "echo", "eval", "export", "git", "go", "jq", "kill", "ls", "mkdir"),
    *("mv", "pip", "pytest", "rm", "sed", "set", "source", "unset", "uv"),
}
"""Programs that are not ours to check. One that is missing here is a mistake in a page, or belongs here."""
_SEPARATORS = {"&&", "||", "|", ";", "&", "(", ")"}
_PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*$|.*[…|<>$]")
_CUSTOM_AWS = {("s3", "ls"), ("s3", "cp"), ("s3", "mb"), ("s3", "rm"), ("s3", "sync"), ("sso", "login")}
"""Commands of the AWS command line that are no operation of a service."""
_GLOBAL_AWS = {"region", "profile", "output", "query", "endpoint-url", "no-cli-pager"}


@dataclass(frozen=True)
class Command:
    page: Path
    words: tuple[str, ...]
    whole: bool = True
    """False of one that is named in a sentence, without all that it needs."""

    @property
    def program(self) -> str:
        name = self.words[0].rpartition("/")[2]
        return "python" if re.fullmatch(r"python[\d.]*", name) else name

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {shlex.join(self.words)}"


def commands() -> Iterator[Command]:
    """Of every page: what stands in `sh` blocks, in indented blocks, and between backticks."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for block in re.findall(r"^ *```(?:sh|bash|console|shell)\n(.*?)^ *```", text, re.S | re.M):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                yield from _of_line(page, line)
        prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M)
        programs = "|".join(OURS)
        for line in re.findall(rf"^    +((?:[\w./]*/)?(?:{programs}) .*)$", prose, re.M):
            yield from _of_line(page, line)
        for said in re.findall(rf"(?<!`)`((?:{programs}) [^`\n]+)`(?!`)", prose):
            found = _of_line(page, said, whole=False)
            yield from (command for command in found if command.program in OURS)


def _of_line(page: Path, line: str, whole: bool = True) -> Iterator[Command]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        for inner in re.findall(r"\$\(([^()]*)\)", token):
            yield from _of_line(page, inner)
        if token not in _SEPARATORS:
            words.append(token)
            continue
        while words and (re.match(r"\w+=", words[0]) or words[0] in ("time", "sudo")):
            del words[0]
        if ">" in words:
            del words[words.index(">") :]
        if words:
            yield Command(page, tuple(words), whole)
        words = []


def problem(command: Command) -> str | None:
    """What is wrong with a command; None where it exists, with its options, or is not ours."""
    match command.program:
        case "slipway":
            return _slipway(command.words[1:], command.whole)
        case "make":
            return _make(command.words[1:])
        case "python":
            return _module(command.words[1:])
        case "aws":
            return _aws(command.words[1:])
        case "pulumi":
            return None  # the engine is asked by a contract test
        case name:
            return None if name in OTHERS else f"what is {name}?"


def _slipway(words: tuple[str, ...], whole: bool) -> str | None:
    command: click.Command = cli.slipway
    context = click.Context(command, info_name="slipway")
    left = list(words)
    try:
        while True:
            given, left, _ = command.make_parser(context).parse_args(args=left)
            if not isinstance(command, click.Group) or not left or (not whole and _PLACEHOLDER.match(left[0])):
                break
            name = left.pop(0)
            if not whole and "/" in name:  # `slipway local start/stop`
                return None
            found = command.get_command(context, name)
            if found is None:
                return f"no such command: {name}"
            command, context = found, click.Context(found, context, info_name=name)
        if left and not isinstance(command, click.Group):
            return f"too much: {left}"
        for parameter in command.params:
            value = given.get(parameter.name or "")
            if whole and parameter.required and not value:
                return f"{parameter.human_readable_name} is missing"
            checked = isinstance(parameter.type, click.Choice | click.types.IntRange | click.types.FloatRange)
            if checked and isinstance(value, str) and not _PLACEHOLDER.match(value):
                parameter.type.convert(value, parameter, context)
    except click.BadOptionUsage as error:
        return error.format_message() if whole else None  # `slipway deploy --env` names the option alone
    except click.UsageError as error:
        return error.format_message()
    return None


def targets() -> set[str]:
    """Of the Makefile."""
    return set(re.findall(r"^([a-z][\w-]*):(?!=)", (ROOT / "Makefile").read_text(), re.M))


def _make(words: tuple[str, ...]) -> str | None:
    named = {word for word in words if "=" not in word and not word.startswith("-") and not _PLACEHOLDER.match(word)}
    unknown = named - targets()
    return f"no such target: {', '.join(sorted(unknown))}" if unknown else None


def _module(words: tuple[str, ...]) -> str | None:
    if words[:1] != ("-m",) or len(words) == 1 or words[1].split(".")[0] not in {path.name for path in ROOT.iterdir()}:
        return None
    if _PLACEHOLDER.match(words[1].rpartition(".")[2]):
        return None
    spec = find_spec(words[1])
    if spec is None:
        return f"no such module: {words[1]}"
    source = Path(spec.origin or "")
    main = source.with_name("__main__.py")
    text = source.read_text() + (main.read_text() if main.is_file() else "")
    options = {word.strip("[]") for word in words if word.strip("[").startswith("--")}
    unknown = sorted(option for option in options if f'"{option}"' not in text)
    return f"no such option: {', '.join(unknown)}" if unknown else None


def _aws(words: tuple[str, ...]) -> str | None:
    service, operation, *rest = words
    if (service, operation) in _CUSTOM_AWS:
        return None
    session: Any = botocore.session.get_session()
    if service not in session.get_available_services():
        return f"no such service: {service}"
    model = session.get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        return f"no such operation: {operation}"
    shape = model.operation_model(names[operation]).input_shape
    members = {xform_name(name, "-") for name in (shape.members if shape else ())}
    options = {word.removeprefix("--") for word in rest if word.startswith("--")}
    unknown = sorted(options - members - _GLOBAL_AWS)
    return f"no such option: {', '.join(unknown)}" if unknown else None
