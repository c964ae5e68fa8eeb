"""Puts the provider where the engine looks for plugins: `pulumi plugin install resource aws 0.0.1 --file DIR`.

What is installed is a launcher that starts this checkout's Python on this checkout's code, so that a change of the
code needs no new installation, and each checkout (with a PULUMI_HOME of its own) runs its own.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from localcloud.errors import LocalCloudError
from localcloud.provider import NAME, VERSION

CHECKOUT = Path(__file__).resolve().parents[2]
LAUNCHER = f"pulumi-resource-{NAME}"


def plugin_directory(target: Path, python: Path) -> Path:
    """Writes what `pulumi plugin install --file` takes into `target`, and returns it."""
    target.mkdir(parents=True, exist_ok=True)
    launcher = target / LAUNCHER
    launcher.write_text(_launcher(python))
    launcher.chmod(0o755)
    return target


def install(pulumi: Path, env: Mapping[str, str], python: Path | None = None) -> bool:
    """Installs the plugin below `env`'s PULUMI_HOME; False where the same one is there. Raises LocalCloudError."""
    python = python or Path(sys.executable)
    if is_installed(env, python):
        return False
    with tempfile.TemporaryDirectory() as scratch:
        directory = plugin_directory(Path(scratch), python)
        command: list[str | Path] = [
            pulumi,
            "plugin",
            "install",
            "resource",
            NAME,
            VERSION,
            "--file",
            directory,
            "--reinstall",
        ]
        done = subprocess.run(command, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0 or not is_installed(env, python):
        said = (done.stderr or done.stdout).strip() or "it says nothing"
        raise LocalCloudError(f"the engine did not take the local aws provider: {said}")
    return True


def is_installed(env: Mapping[str, str], python: Path) -> bool:
    home = env.get("PULUMI_HOME")
    plugins = (Path(home) if home else Path.home() / ".pulumi") / "plugins"
    launcher = plugins / f"resource-{NAME}-v{VERSION}" / LAUNCHER
    return launcher.is_file() and os.access(launcher, os.X_OK) and launcher.read_text() == _launcher(python)


def _launcher(python: Path) -> str:
    # -P and PYTHONPATH: the engine starts plugins in the program's folder, whose modules are none of ours.
    return f"""#!/bin/sh
PYTHONPATH={shlex.quote(str(CHECKOUT))} exec {shlex.quote(str(python))} -P -m localcloud.provider "$@"
"""
