"""A Dockerfile's instructions as data, and its file system laid out in a folder, where there is no Docker.

Apart because the lint and the contract test of `serving/Dockerfile` read the same.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    name: str
    text: str
    line: int

    @property
    def words(self) -> list[str]:
        """The arguments: of the JSON form, or split as a shell does."""
        if self.text.startswith("["):
            words: list[str] = json.loads(self.text)
            return words
        return shlex.split(self.text)

    @property
    def flags(self) -> dict[str, str]:
        return dict(word[2:].split("=", 1) for word in self.words if word.startswith("--") and "=" in word)

    @property
    def arguments(self) -> list[str]:
        return [word for word in self.words if not word.startswith("--")]


def parse(text: str) -> list[Instruction]:
    """Instructions in order; comments are dropped, continued lines joined."""
    instructions, pending, start = [], "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        start = start if pending else number
        pending += line.rstrip().removesuffix("\\")
        if line.rstrip().endswith("\\"):
            continue
        name, _, rest = pending.strip().partition(" ")
        instructions.append(Instruction(name.upper(), re.sub(r"\s+", " ", rest).strip(), start))
        pending = ""
    return instructions


def stages(instructions: list[Instruction]) -> list[list[Instruction]]:
    """Each begins with its FROM."""
    found: list[list[Instruction]] = []
    for one in instructions:
        if one.name == "FROM":
            found.append([])
        found[-1].append(one)
    return found


@dataclass
class Image:
    """What a final stage comes to."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether a `.dockerignore` leaves a path out: the last pattern that fits it, or a folder above it, decides."""
    parents = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
    out = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!").rstrip("/")
        names = [wanted, wanted.removeprefix("**/")]
        if any(fnmatch.fnmatchcase(parent, name) for parent in parents for name in names) or (
            wanted.startswith("**/") and any(part == wanted[3:] for part in path.split("/"))
        ):
            out = not pattern.startswith("!")
    return out


def lay_out(dockerfile: Path, context: Path, target: Path) -> Image:
    """Does the steps of every stage in a folder each, the last one's being the image's root.

    COPY copies, RUN runs with absolute paths below /opt and /tmp led into the folder, and `python` and `pip` those of
    this interpreter without its packages. What FROM brings is not there: this machine has its own.
    """
    patterns = dockerfile.with_name(dockerfile.name + ".dockerignore").read_text().split()
    roots: dict[str, Path] = {}
    image = Image(target)
    for number, stage in enumerate(stages(parse(dockerfile.read_text()))):
        words = stage[0].words
        name = words[2] if len(words) > 2 else str(number)
        image = Image(target / f"stage-{name}")
        roots[name] = image.root
        _base(image.root)
        for one in stage[1:]:
            _do(one, image, context, roots, patterns)
    return image


def within(root: Path, text: str) -> str:
    """Absolute paths of the image as paths of this machine."""
    return re.sub(r"(?<![\w.])/(opt|tmp|usr)(?=[/\s:'\"]|$)", lambda found: f"{root}/{found[1]}", text)


def _base(root: Path) -> None:
    for folder in ("opt", "tmp", "usr/local/bin"):
        (root / folder).mkdir(parents=True)
    python = Path(sys._base_executable)  # type: ignore[attr-defined]  # not a venv's: its packages must not be seen
    (root / "usr/local/bin/python").symlink_to(python)
    pip = root / "usr/local/bin/pip"
    pip.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n')
    pip.chmod(0o755)


def _do(one: Instruction, image: Image, context: Path, roots: dict[str, Path], patterns: list[str]) -> None:
    if one.name == "COPY":
        *sources, destination = one.arguments
        stage = one.flags.get("from")
        for source in sources:
            origin = (roots[stage] if stage else context) / source.lstrip("/")
            _copy(origin, image.root / destination.lstrip("/"), None if stage else context, patterns)
    elif one.name == "RUN":
        path = f"{image.root}/usr/local/bin{os.pathsep}{os.defpath}"
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "HTTP", "http", "SSL_"))}
        subprocess.run(
            ["sh", "-ec", within(image.root, one.text)],
            check=True,
            env=kept | image.environment | {"PATH": path, "HOME": str(image.root / "tmp")},
        )
    elif one.name == "ENV":
        image.environment |= dict(word.split("=", 1) for word in one.words)
    elif one.name == "USER":
        image.user = one.text
    elif one.name == "ENTRYPOINT":
        image.entrypoint = one.words
    elif one.name == "CMD":
        image.command = one.words


def _copy(origin: Path, target: Path, context: Path | None, patterns: list[str]) -> None:
    for path in [origin] if origin.is_file() else sorted(origin.rglob("*")):
        if not path.is_file() or (context and ignored(path.relative_to(context).as_posix(), patterns)):
            continue
        where = target / path.relative_to(origin) if origin.is_dir() else target
        where.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, where)
