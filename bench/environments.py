"""Environments of their own for what cannot or need not be in this one, by uv from pinned requirements.

Used by benchmarks and by the tests of what only such an environment has.
"""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).parent / "uv"
REQUIREMENTS = Path(__file__).parents[1] / "requirements"
INSTALL_SECONDS = 1800


class NotInstalled(Exception):
    """Why an environment cannot be had."""


def made(name: str, directory: Path, *, sharing: bool) -> Path:
    """Python of the environment in `directory`, which has `requirements/NAME.txt`; made where that or Python changed.

    A sharing one sees this environment's packages after its own: torch's 5 GB are there once. Raises NotInstalled.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    python, done = directory / "bin/python", directory / "installed.txt"
    wanted = f"{sys.version}\n{requirements.read_text()}"
    shared = "".join(f"{path}\n" for path in site.getsitepackages()) if sharing else ""
    sees = next(directory.glob("lib/python*/site-packages/main-environment.pth"), None)
    if done.is_file() and done.read_text() == wanted and (sees.read_text() if sees else "") == shared:
        return python
    print(f"· environment of {name}, in {directory}", file=sys.stderr, flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    _run([UV, "venv", "--quiet", "--python", sys.executable, directory], name)
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", python, "--no-deps", "--require-hashes"]
    _run([*install, "-r", requirements], name)
    if sharing:
        (own,) = directory.glob("lib/python*/site-packages")
        (own / "main-environment.pth").write_text(shared)
    done.write_text(wanted)
    return python


def _run(command: list[str | Path], name: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{name}.txt was not installed within {INSTALL_SECONDS // 60} minutes") from None
    if done.returncode:
        raise NotInstalled(f"{name}.txt cannot be installed: {' '.join(done.stderr.split())[-400:]}")
