"""The official engine, from Pulumi's own installer, as the pinned SDK drives it.

It is apart because it needs the open internet: where that is out of reach it must say so within seconds.
"""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from toolchain.errors import Unavailable

ORIGIN = "installer"
# What `PulumiCommand.install` of the SDK fetches first.
SCRIPT = "https://get.pulumi.com/install.sh"
PROBE_SECONDS = 5.0
INSTALL_SECONDS = 600.0
_INSTALL = "import sys; from pulumi.automation import PulumiCommand; PulumiCommand.install(root=sys.argv[1])"


def version() -> str:
    """The engine that belongs to the pinned SDK."""
    return importlib.metadata.version("pulumi")


def directory_name() -> str:
    return f"official-v{version()}"


def binary(directory: Path) -> Path:
    return directory / "bin" / "pulumi"


def make(directory: Path, progress: Callable[[str], None]) -> None:
    """Installs into `directory`. Raises Unavailable."""
    reason = unreachable(SCRIPT, PROBE_SECONDS)
    if reason is not None:
        raise Unavailable(f"it is out of reach ({reason})")
    progress(f"installing Pulumi v{version()} with its official installer")
    # The SDK has no time-out of its own, so it runs as a process group that can be ended.
    command = [sys.executable, "-P", "-c", _INSTALL, str(directory)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=INSTALL_SECONDS)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"it did not finish within {INSTALL_SECONDS:.0f} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0 or not binary(directory).is_file():
        lines = output.strip().splitlines()
        raise Unavailable(f"it failed: {lines[-1] if lines else f'exit code {process.returncode}'}")


def unreachable(url: str, seconds: float) -> str | None:
    """Why `url` cannot be fetched, or None where it can. Takes at most `seconds`, name resolution included."""
    outcome: list[str | None] = []

    def probe() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds):  # noqa: S310
                outcome.append(None)
        except urllib.error.URLError as error:
            outcome.append(str(error.reason))
        except OSError as error:
            outcome.append(str(error))

    # A resolver keeps no time-out, so the wait is ended from outside; a daemon thread holds up no exit.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"no answer within {seconds:g} s"
