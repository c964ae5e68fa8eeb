"""Wheels that travel in the artifact, so that a container without a network can install what its code needs.

Apart from `package` because they are fetched: by pip, for the image's Python and not for this one's, once.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

from model_build.errors import UserError
from model_build.instances import is_arm

if TYPE_CHECKING:
    from model_build.spec import Spec

FOLDER = "wheels"
"""In the artifact's `code`. pip looks for a relative `--find-links` beside the file that names it."""
OPTIONS = ("--no-index", f"--find-links {FOLDER}")
"""The first lines of `code/requirements.txt` where there are wheels."""
OLDEST_GLIBC, NEWEST_GLIBC = {"x86_64": 5, "aarch64": 17}, 35
"""Of each kind of CPU; 2.35 is Ubuntu 22.04's, which AWS's images are made of."""
LEGACY = {"x86_64": ("2014", "2010", "1"), "aarch64": ("2014",)}
"""Older names of such platforms."""


def python_of(image: str) -> str | None:
    """`312` of AWS's image `…-py312-…`; None where its tag says nothing of Python."""
    found = re.search(r"-py(3\d{1,2})(?=-|$)", image)
    return found[1] if found else None


def python_for(spec: Spec) -> str | None:
    """The Python that wheels are fetched for; None where no deployment wants any."""
    wanted = [deploy for deploy in (spec.deploy, *spec.deployments().values()) if deploy.wheels]
    return python_of(wanted[0].image) if wanted else None


def machine_for(spec: Spec) -> str:
    """The kind of CPU that wheels are fetched for, as their names call it."""
    wanted = [deploy for deploy in (spec.deploy, *spec.deployments().values()) if deploy.wheels]
    arm = any(is_arm(deploy.instance) for deploy in wanted if deploy.endpoint != "serverless")
    return "aarch64" if arm else "x86_64"


def constraints(lines: Iterable[str]) -> list[str]:
    """The versions installed here, of all that the lines do not pin: what these need comes in tried versions."""
    pinned = {_normal(re.split(r"[\[=]", line)[0]) for line in lines}
    here = {_normal(one.name): one.version for one in distributions() if one.name}
    return [f"{name}=={version}" for name, version in sorted(here.items()) if name not in pinned and "+" not in version]


def fetch(lines: Sequence[str], constrained: Sequence[str], python: str, machine: str, folder: Path) -> None:
    """Puts the wheels of the lines, and of all that they need, into a folder. Raises UserError."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC[machine] - 1, -1)]
    platforms += [f"manylinux{old}_{machine}" for old in LEGACY[machine]] + [f"linux_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [part for name in platforms for part in ("--platform", name)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{line}\n" for line in constrained)
        file.flush()
        done = subprocess.run(
            [*command, "--constraint", file.name, "--dest", str(folder), *lines],
            env={**os.environ, "PIP_NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if done.returncode:
        said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said[-1:] or ["pip says nothing"]
        raise UserError(
            f"the wheels for Python {python[0]}.{python[1:]} could not be fetched: {errors[-1]}",
            next_step=f"pin versions that have wheels for Linux on {machine} in handler.requirements, or give "
            "`image: own` in place of deploy.network.wheels",
        )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
