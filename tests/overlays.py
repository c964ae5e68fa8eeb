"""Environments of their own for what cannot or need not be in the main one, from a locked set of `requirements/`."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def python_with(name: str) -> Path:
    """Python of `.venv-NAME`, which has `requirements/NAME.txt` and sees the main environment's packages after those.

    Made when its requirements change, and kept in the checkout.
    """
    directory = PROJECT / f".venv-{name}"
    requirements = PROJECT / f"requirements/{name}.txt"
    python = directory / "bin/python"
    done = directory / "installed.txt"
    wanted = f"{sys.version}\n{requirements.read_text()}"
    if not done.is_file() or done.read_text() != wanted:
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", requirements], check=True)
        (own,) = directory.glob("lib/python*/site-packages")
        (own / "main-environment.pth").write_text("\n".join(site.getsitepackages()) + "\n")
        done.write_text(wanted)
    return python
