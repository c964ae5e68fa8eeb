"""The environment that Flower is in: `.venv-federated`, made by `make federated` from `requirements/federated.txt`.

Apart from the main one since flwr asks for older versions of packages than it has; it sees the main one's after these.
"""

from __future__ import annotations

import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

from model_build.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[2]
DIRECTORY = CHECKOUT / ".venv-federated"
LOCKED = CHECKOUT / "requirements/federated.txt"
_DONE = "installed.txt"


def flwr_version() -> str:
    """The version that is locked, installed or not: a node that was made elsewhere can be fetched without it."""
    found = re.search(r"^flwr==([\w.]+)", LOCKED.read_text(encoding="utf-8"), flags=re.M) if LOCKED.is_file() else None
    return found[1] if found else "none"


def python() -> Path:
    """Its interpreter. Raises UserError where it is not there, or was made from other requirements."""
    if not _is_made():
        raise UserError(
            "a federated source is trained with Flower, which has an environment of its own", "make federated"
        )
    return DIRECTORY / "bin/python"


def make() -> Path:
    """Makes it, unless it is there; gives its interpreter. Raises CalledProcessError, after what the tool printed."""
    if not _is_made():
        shutil.rmtree(DIRECTORY, ignore_errors=True)
        target = str(DIRECTORY / "bin/python")
        options = ["--no-deps", "--require-hashes", "-r", str(LOCKED)]
        uv = Path(sys.executable).with_name("uv")
        if uv.is_file():
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, DIRECTORY], check=True)
            subprocess.run([uv, "pip", "install", "--quiet", "--python", target, *options], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", DIRECTORY], check=True)
            subprocess.run([target, "-m", "pip", "install", "--quiet", *options], check=True)
        (own,) = DIRECTORY.glob("lib/python*/site-packages")
        (own / "main-environment.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
        (DIRECTORY / _DONE).write_text(_wanted(), encoding="utf-8")
    return DIRECTORY / "bin/python"


def _is_made() -> bool:
    done = DIRECTORY / _DONE
    return LOCKED.is_file() and done.is_file() and done.read_text(encoding="utf-8") == _wanted()


def _wanted() -> str:
    """What the environment was made from: this Python, whose packages it sees, and the locked set."""
    return "\n".join((sys.version, *site.getsitepackages(), LOCKED.read_text(encoding="utf-8")))
