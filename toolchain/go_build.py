"""The same engine, built from pinned Go modules: for places where only package mirrors can be reached.

`go/` holds the module files; go.sum pins the content of every module by hash. Nothing is built in the checkout.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from toolchain import launchers
from toolchain.errors import Unavailable

ORIGIN = "go"
VERSION = "3.259.0"
PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
MODULE = Path(__file__).parent / "go"
_VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
FLAGS = ("-mod=readonly", "-trimpath", "-ldflags", f"-s -w -X {_VERSION_VARIABLE}=v{VERSION}")
# Pulumi's own releases are built without cgo too; so no C compiler is needed, and the result runs on any libc.
SETTINGS = {"CGO_ENABLED": "0", "GOWORK": "off"}
REPORT_SECONDS = 15.0

# (what Go says, what that means), the first that matches.
_CAUSES = (
    (r"requires go >=|invalid go version|toolchain not available", "this Go is too old; {go} or newer is needed"),
    (r"no space left on device", "the disk is full"),
    (
        r"dial tcp|no such host|connection refused|timeout|proxyconnect|Forbidden|Bad Gateway|Service Unavailable"
        r"|module lookup disabled",
        "the Go module proxy cannot be reached (GOPROXY names it)",
    ),
    (r"SECURITY ERROR|checksum mismatch", "a module is not what go.sum pins; do not use this proxy"),
    (r"signal: killed|out of memory|cannot allocate memory", "the memory is too small for the compiler"),
)


def version() -> str:
    return VERSION


def directory_name() -> str:
    """Names the engine by what decides its bytes, so that a changed pin is built anew and an old one is kept."""
    digest = hashlib.sha256()
    for path in sorted(MODULE.iterdir()):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    settings = (PACKAGE, FLAGS, sorted(SETTINGS.items()), launchers.FORWARDER, platform.system(), platform.machine())
    digest.update(repr(settings).encode())
    return f"v{VERSION}-{digest.hexdigest()[:12]}"


def binary(directory: Path) -> Path:
    return directory / "pulumi"


def minimum_go() -> str:
    """The Go version that go.mod asks for."""
    lines = (MODULE / "go.mod").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("go "))


def make(directory: Path, progress: Callable[[str], None]) -> None:
    """Builds into `directory`; minutes on two cores. Raises Unavailable."""
    go = shutil.which("go")
    if go is None:
        raise Unavailable("there is no `go` on PATH")
    progress(f"fetching the Go modules of Pulumi v{VERSION}")
    packages = _run([go, "list", "-mod=readonly", "-deps", PACKAGE], lambda _: None)
    progress(f"building Pulumi v{VERSION} with Go: up to {packages} packages, a few minutes")
    started = reported = time.monotonic()
    compiled = 0

    def count(_: str) -> None:
        nonlocal compiled, reported
        compiled += 1
        if time.monotonic() - reported >= REPORT_SECONDS:
            reported = time.monotonic()
            progress(f"compiled {compiled} packages in {reported - started:.0f} s")

    # -v names each package on standard error as it is compiled.
    _run([go, "build", "-v", *FLAGS, "-o", str(binary(directory)), PACKAGE], count)
    launchers.write_forwarders(directory)
    progress(f"built Pulumi v{VERSION} in {time.monotonic() - started:.0f} s")


def _run(command: list[str], on_line: Callable[[str], None]) -> int:
    """Runs Go, calls `on_line` for each line of output and counts them. Raises Unavailable with the likely cause."""
    tail: deque[str] = deque(maxlen=5)
    lines = 0
    process = subprocess.Popen(
        command,
        cwd=MODULE,
        env=os.environ | SETTINGS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with process:
        try:
            for line in process.stdout or ():
                lines += 1
                tail.append(line.rstrip())
                on_line(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise Unavailable(_cause("\n".join(tail)))
    return lines


def _cause(output: str) -> str:
    for pattern, meaning in _CAUSES:
        if re.search(pattern, output, re.IGNORECASE):
            return f"{meaning.format(go=minimum_go())}; Go said: {output}"
    return f"Go failed: {output}"
