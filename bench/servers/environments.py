"""An environment of its own for every peer, kept in the user's cache folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bench import environments
from bench.servers.launch import Server, Unavailable
from toolchain.engine import cache_directory

SHARING = frozenset({"torchserve"})
"""Sets that lack what this environment has."""


def python_of(server: Server) -> Path:
    """The interpreter that the server runs in; its environment is made where it is missing. Raises Unavailable."""
    for program in server.NEEDS:
        if shutil.which(program) is None:
            package = {"java": "openjdk-17-jre-headless"}.get(program, program)
            raise Unavailable(f"{program} is not on PATH (on Debian: apt-get install {package})")
    name = server.REQUIREMENTS
    if name is None:
        return Path(sys.executable)
    try:
        return environments.made(name, cache_directory().parent / "peers" / name, sharing=name in SHARING)
    except environments.NotInstalled as error:
        raise Unavailable(str(error)) from None
