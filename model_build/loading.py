"""A YAML file → a `Spec`, or everything that is wrong with it at once, each with file, line and key.

    text → yaml_tree (syntax, limits) → spec (shape, by pydantic) → rules (across keys and files) → problems by line

Imports nothing heavy and runs nothing of the project: `slipway check` takes a few milliseconds a spec.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model_build import migrations, rules
from model_build.errors import SpecError, UserError
from model_build.explain import close, explained, fields_at, key_of, suggestion, validate
from model_build.sources import huggingface
from model_build.spec import Spec
from model_build.yaml_tree import MAX_BYTES, Key, parse

FOLDER = "specs"

_CANDIDATES: Key = ("optimize", "candidates")

# Stand in for required keys that are broken, so that the rules can still judge the rest of the file.
_STAND_INS: dict[str, Any] = {"name": "x", "task": "tensor", "source": {"onnx": {"path": "x.onnx"}}}


@dataclass(frozen=True)
class Problem:
    """One thing to mend. `path` is relative to the project root; `key` is empty where the whole file is meant."""

    path: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return (
            f"{self.path}:{self.line}: {self.key}: {self.message}"
            if self.key
            else (f"{self.path}:{self.line}: {self.message}")
        )


def load(path: Path, root: Path) -> Spec:
    """The spec of one file. Raises SpecError with every problem."""
    spec, problems = read(path, root)
    if spec is None or problems:
        raise SpecError([str(problem) for problem in problems])
    return spec


def load_all(names: Iterable[str], root: Path) -> tuple[dict[Path, Spec], list[Problem]]:
    """The specs without problems by their path, and the problems of the others; no name means all of `specs/`.

    A name is a model's (`fashion`) or a file's (`specs/fashion.yaml`). Raises UserError for one that does not exist.
    """
    specs: dict[Path, Spec] = {}
    problems: list[Problem] = []
    for path in find(names, root):
        spec, found = read(path, root)
        problems += found
        if spec is not None and not found:
            specs[path] = spec
    return specs, problems


def find(names: Iterable[str], root: Path) -> list[Path]:
    """The files of the named specs, or of all in `specs/`, each once. Raises UserError."""
    folder = root / FOLDER
    known = sorted(path for ending in ("yaml", "yml") for path in folder.glob(f"*.{ending}"))
    names = list(names)
    if not names and not known:
        raise UserError(f"{folder} holds no spec", next_step=f"write {FOLDER}/NAME.yaml; docs/spec.md shows one")
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name) if os.sep in name or name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
        if not path.is_absolute() and not path.exists():
            path = root / path
        if not path.is_file():
            stems = [one.stem for one in known]
            have = f"there {'are' if len(stems) > 1 else 'is'} {', '.join(stems)}" if stems else f"{folder} is empty"
            raise UserError(f"there is no spec '{name}'{suggestion(name, stems)}", next_step=have)
        found[path.resolve()] = None
    return list(found) if names else known


def read(path: Path, root: Path) -> tuple[Spec | None, list[Problem]]:
    """The spec of a file where its shape is right, and every problem, by line."""
    path, root = path.resolve(), root.resolve()
    if not path.is_relative_to(root):
        return None, [Problem(str(path), 1, "", f"lies outside the project {root}; move it there or give --root")]
    shown = path.relative_to(root).as_posix()
    text, trouble = text_of(path)
    if trouble:
        return None, [Problem(shown, 1, "", trouble)]
    tree, faults = parse(text)
    problems = dict.fromkeys(problem(shown, *fault) for fault in faults)
    if tree is None:
        return None, list(problems)

    def report(key: Key, message: str) -> None:
        problems[problem(shown, tree.line_of(key), key, message)] = None

    if objection := migrations.objection(tree.value.get("version", 1), path.stem):
        report(("version",), objection)  # and no more: the other keys may mean something else in that version
        return None, list(problems)
    spec, broken = _shaped(tree.value, report)
    spec = huggingface.with_generation(huggingface.with_labels(spec, root), root)
    if ("name",) not in broken and spec.name != path.stem:
        report(("name",), f"is '{spec.name}', and the file {path.name}; give both one name")
    if path.suffix != ".yaml":
        report((), f"name the file {path.stem}.yaml, as the others")
    for finding in rules.check(spec, root):
        if not any(key[: len(part)] == part for part in broken for key in (finding.key, *finding.depends)):
            report(finding.key, finding.message)
    return (None if broken else spec), sorted(problems, key=lambda one: one.line)


def problem(path: str, line: int, key: Key, message: str) -> Problem:
    # A file's text ends on a terminal: control characters are shown, not sent.
    key_text, message = (
        "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text) for text in (written(key), message)
    )
    return Problem(path, line, key_text, message)


def text_of(path: Path) -> tuple[str, str]:
    """A file's text, or why it cannot be had."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            return "", f"is larger than {MAX_BYTES:,} bytes; a spec names data and does not hold it"
        return content.decode("utf-8-sig"), ""
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        return "", f"is not UTF-8 text (byte {error.start})"


def _shaped(values: dict[str, Any], report: Callable[[Key, str], None]) -> tuple[Spec, set[Key]]:
    """The spec without what is broken, so that the rules can still judge the rest, and the keys that were left out.

    Reports every finding about the shape.
    """
    values = _copied(values)
    broken: set[Key] = set()
    reported = False
    while True:
        try:
            return validate(Spec, values), broken
        except ValidationError as error:
            if not reported:
                for key, message in explained(error, Spec):
                    report(key, message)
                reported = True
            for detail in error.errors(include_url=False):
                key = key_of(detail["loc"])
                if detail["type"] == "extra_forbidden":  # most often a misspelt key: what was meant is broken then
                    broken |= {(*key[:-1], meant) for meant in close(key[-1], fields_at(Spec, key[:-1]))}
                broken.add(_leave_out(values, key, detail["type"] == "missing"))


def _leave_out(values: dict[str, Any], key: Key, missing: bool) -> Key:
    """Removes a broken key, or what holds it: a whole list, so that no index moves; the parent of a missing key."""
    if key[:2] == _CANDIDATES and len(key) > 2 and isinstance(key[2], int):
        values["optimize"]["candidates"][key[2]] = []  # the other candidates are still worth judging
        return key[:3]
    names = [str(part) for part in itertools.takewhile(lambda part: isinstance(part, str), key)]
    if missing and len(names) > 1:
        names = names[:-1]
    holder: Any = values
    for name in names[:-1]:
        holder = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder.pop(names[-1], None) if names else holder.clear()
    if not names or (names[0] in _STAND_INS and len(names) == 1):
        values |= {name: _STAND_INS[name] for name in (names or _STAND_INS)}
    return tuple(names)


def _copied(value: Any) -> Any:
    """A deep copy, in which repeated (aliased) parts are separate."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def written(key: Key) -> str:
    """A key as people write it: `optimize.candidates[1][0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")
