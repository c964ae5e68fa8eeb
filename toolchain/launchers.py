"""The small programs by which an engine without a language host finds ours.

They come in two halves, since checkouts share a cached engine but not its Python: beside the engine, where it looks,
lie forwarders that are the same for all; they start those of the checkout that the environment names.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
DIRECTORY = CHECKOUT / ".slipway" / "bin"
VARIABLE = "SLIPWAY_PROGRAMS"
NAMES = ("pulumi-language-python", "pulumi-resource-pulumi-python")
FORWARDER = f"""#!/bin/sh
exec "${{{VARIABLE}:?is not set, so that no Python is known. next: eval \\"\\$(slipway env)\\"}}/${{0##*/}}" "$@"
"""

# -P keeps the working directory, which is the user's project, off the host's module path.
_LANGUAGE_HOST = "import sys; sys.path.insert(0, {checkout!r}); from toolchain.language_host.server import main; main()"


def commands() -> dict[str, list[str]]:
    """Program of this checkout → its command, to which the engine's arguments are added."""
    host = _LANGUAGE_HOST.format(checkout=str(CHECKOUT))
    language, dynamic = NAMES
    return {
        language: [sys.executable, "-P", "-u", "-c", host],
        dynamic: [sys.executable, "-u", "-m", "pulumi.dynamic"],
    }


def write(directory: Path = DIRECTORY) -> Path:
    """Writes this checkout's programs into `directory`, which is returned."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, command in commands().items():
        _write(directory / name, f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    return directory


def write_forwarders(directory: Path) -> None:
    """Writes those that lie beside an engine."""
    for name in NAMES:
        _write(directory / name, FORWARDER)


def _write(path: Path, script: str) -> None:
    if path.is_file() and path.read_text() == script and os.access(path, os.X_OK):
        return
    # An engine may be starting the old one right now, so it is replaced, never rewritten.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w") as stream:
        stream.write(script)
    Path(temporary).chmod(0o755)
    Path(temporary).replace(path)
