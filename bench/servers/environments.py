"""An environment of its own for every peer, made by uv from pinned requirements and kept in the user's cache folder."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
from pathlib import Path

from bench.servers.launch import Server, Unavailable
from toolchain.engine import cache_directory

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
UV = Path(sys.executable).parent / "uv"
INSTALL_SECONDS = 1800
SHARING = frozenset({"torchserve"})
"""Sets that lack what this environment has (torch is 5 GB): theirs sees its packages after its own."""


def python_of(server: Server) -> Path:
    """The interpreter that the server runs in; its environment is made where it is missing. Raises Unavailable."""
    for program in server.NEEDS:
        if shutil.which(program) is None:
            package = {"java": "openjdk-17-jre-headless"}.get(program, program)
            raise Unavailable(f"{program} is not on PATH (on Debian: apt-get install {package})")
    return Path(sys.executable) if server.REQUIREMENTS is None else made(server.REQUIREMENTS)


def made(name: str) -> Path:
    requirements = REQUIREMENTS / f"{name}.txt"
    directory = cache_directory().parent / "peers" / name
    python, done = directory / "bin/python", directory / "installed.txt"
    wanted = f"{sys.version}\n{sys.prefix if name in SHARING else ''}\n{requirements.read_text()}"
    if done.is_file() and done.read_text() == wanted:
        return python
    print(f"· environment of {name}, in {directory}", file=sys.stderr, flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    _run([UV, "venv", "--quiet", "--python", sys.executable, directory], name)
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", python, "--no-deps", "--require-hashes"]
    _run([*install, "-r", requirements], name)
    if name in SHARING:
        (own,) = directory.glob("lib/python*/site-packages")
        (own / "main-environment.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    done.write_text(wanted)
    return python


def _run(command: list[str | Path], name: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name}.txt was not installed within {INSTALL_SECONDS // 60} minutes") from None
    if done.returncode:
        raise Unavailable(f"{name}.txt cannot be installed: {' '.join(done.stderr.split())[-400:]}")
