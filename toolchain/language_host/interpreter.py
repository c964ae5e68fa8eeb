"""Which Python runs a program: the runtime options of Pulumi.yaml decide, as they do for the official host."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class InterpreterError(Exception):
    """The options name a Python that is not there; the message says so with the next step."""


@dataclass(frozen=True)
class Interpreter:
    executable: Path
    virtualenv: Path | None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with the virtual environment activated, so that its tools come first on PATH."""
        environment = dict(base)
        if self.virtualenv is not None:
            environment.pop("PYTHONHOME", None)
            environment["VIRTUAL_ENV"] = str(self.virtualenv)
            entries = [str(self.virtualenv / "bin"), *filter(None, [environment.get("PATH")])]
            environment["PATH"] = os.pathsep.join(entries)
        return environment


def choose(options: Mapping[str, object], root: Path) -> Interpreter:
    """`options` are `runtime.options` of the project whose Pulumi.yaml lies in `root`. Raises InterpreterError.

    `virtualenv` wins; `toolchain: uv` implies `.venv`; else PULUMI_PYTHON_CMD, else the Python that runs this host.
    """
    toolchain = options.get("toolchain") or "pip"
    if toolchain not in ("pip", "uv"):
        raise InterpreterError(
            f"runtime option toolchain: {toolchain} needs the official Pulumi; with this engine name a virtualenv"
        )
    named = options.get("virtualenv") or (".venv" if toolchain == "uv" else None)
    if named is not None:
        virtualenv = root / str(named)
        executable = virtualenv / "bin" / "python"
        if not executable.is_file():
            raise InterpreterError(
                f"runtime option virtualenv: {named} is no virtual environment ({executable} is missing); "
                f"make it with: python3 -m venv {virtualenv}"
            )
        return Interpreter(executable, virtualenv)
    command = os.environ.get("PULUMI_PYTHON_CMD")
    if command:
        found = shutil.which(command)
        if found is None:
            raise InterpreterError(
                f"PULUMI_PYTHON_CMD is {command}, which is no program; set it to a Python, or unset it"
            )
        return Interpreter(Path(found), None)
    return Interpreter(Path(sys.executable), None)
