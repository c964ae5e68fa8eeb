"""Finds, installs or builds the Pulumi engine: PATH, the cache, the official installer, the Go build, in this order.

`ensure` is all that others need. `python -m toolchain.engine` prints the path of the engine that it gives.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from filelock import FileLock, Timeout

from toolchain import go_build, installer, launchers
from toolchain.errors import EngineError, Unavailable

__all__ = ["Engine", "EngineError", "Origin", "Progress", "cache_directory", "ensure", "find"]

Origin = Literal["path", "installer", "go"]
Progress = Callable[[str], None]
ORIGINS: tuple[Origin, ...] = ("path", "installer", "go")
# The oldest engine that the tests run with.
MINIMUM = (3, 259, 0)
VERSION_SECONDS = 30.0
_PARTIAL = ".partial-"


@dataclass(frozen=True)
class Engine:
    """A `pulumi` to use, by the variables of `toolchain.environment`."""

    pulumi: Path
    version: str
    origin: Origin
    path_entries: tuple[Path, ...]
    """Directories for the front of PATH."""
    programs: Path | None
    """Where the launchers of our language host lie; None for an engine that brings its own host."""


class Source(Protocol):
    """A module that can make an engine: `installer`, `go_build`."""

    def version(self) -> str: ...

    def directory_name(self) -> str:
        """Below the cache; names everything that decides what the directory holds."""
        ...

    def binary(self, directory: Path) -> Path: ...

    def make(self, directory: Path, progress: Progress) -> None:
        """Fills an empty directory, or raises Unavailable."""
        ...


SOURCES: dict[Origin, Source] = {"installer": installer, "go": go_build}


def silent(message: str) -> None:
    """The default progress: says nothing."""


def cache_directory() -> Path:
    """Where engines are kept, outside the checkout: a clean clone finds what another one built."""
    own = os.environ.get("SLIPWAY_CACHE")
    if own:
        return Path(own).expanduser().absolute() / "engine"
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "slipway" / "engine"


def ensure(progress: Progress = silent, *, programs: Path = launchers.DIRECTORY) -> Engine:
    """Gives an engine, making one where none is at hand.

    `progress` is called with a line for each thing that takes time or is passed over. `programs` is where the
    launchers of our language host are written, for an engine that brings none. Raises EngineError.
    """
    wanted = _wanted_origins()
    passed: dict[Origin, str] = {}
    if "path" in wanted:
        try:
            return _engine("path", *_on_path(), programs)
        except Unavailable as reason:
            passed["path"] = str(reason)
            if shutil.which("pulumi") is not None:
                progress(f"not using the `pulumi` on PATH: {reason}")
    sources: dict[Origin, Source] = {origin: source for origin, source in SOURCES.items() if origin in wanted}
    cache = cache_directory()
    cached = _cached(cache, sources, programs)
    if cached is not None:
        return cached
    try:
        with _lock(cache, progress):
            for leftover in cache.glob(f"*{_PARTIAL}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            # Another checkout may have made it while this one waited.
            cached = _cached(cache, sources, programs)
            if cached is not None:
                return cached
            for origin, source in sources.items():
                try:
                    directory = _make(cache, source, progress)
                except Unavailable as reason:
                    passed[origin] = str(reason)
                    progress(f"{_LABELS[origin]}: {reason}")
                    continue
                return _engine(origin, source.binary(directory), source.version(), programs)
    except OSError as error:
        raise EngineError(
            f"the engine cannot be kept in {cache} ({error.strerror or error})",
            "make room and make it writable, or set SLIPWAY_CACHE to another directory",
        ) from error
    raise _nothing(passed)


def find(*, programs: Path = launchers.DIRECTORY) -> Engine | None:
    """The engine that is at hand; None where `ensure` would have to make one. Raises EngineError for a bad setting."""
    wanted = _wanted_origins()
    if "path" in wanted:
        with suppress(Unavailable):
            return _engine("path", *_on_path(), programs)
    return _cached(cache_directory(), {origin: SOURCES[origin] for origin in wanted if origin in SOURCES}, programs)


def _wanted_origins() -> tuple[Origin, ...]:
    only = os.environ.get("SLIPWAY_ENGINE", "")
    if not only:
        return ORIGINS
    for origin in ORIGINS:
        if origin == only:
            return (origin,)
    raise EngineError(f"SLIPWAY_ENGINE is {only!r}", f"set it to one of {', '.join(ORIGINS)}, or unset it")


def _on_path() -> tuple[Path, str]:
    """The `pulumi` on PATH and its version. Raises Unavailable where there is none that fits."""
    found = shutil.which("pulumi")
    if found is None:
        raise Unavailable("not found")
    if Path(found).resolve().is_relative_to(cache_directory().resolve()):
        raise Unavailable("it is one of this project's own, from the cache")
    version = _version(Path(found))
    parts = tuple(int(part) for part in version.split("."))
    least = ".".join(map(str, MINIMUM))
    if parts[0] != MINIMUM[0]:
        raise Unavailable(f"{found} is version {version}; version {MINIMUM[0]} is needed, at least {least}")
    if parts < MINIMUM:
        raise Unavailable(f"{found} is version {version}, which is too old; at least {least} is needed")
    return Path(found), version


def _version(pulumi: Path) -> str:
    """`MAJOR.MINOR.PATCH` of an engine, by asking it. Raises Unavailable where it does not answer."""
    try:
        done = subprocess.run(
            [str(pulumi), "version"],
            env=os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_SECONDS,
        )
    except OSError as error:
        raise Unavailable(f"{pulumi} cannot be started ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{pulumi} did not tell its version within {VERSION_SECONDS:.0f} s") from None
    found = re.match(r"v?(\d+\.\d+\.\d+)", done.stdout.strip())
    if done.returncode != 0 or found is None:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{pulumi} does not tell its version ({said[-1] if said else 'it says nothing'})")
    return found[1]


def _cached(cache: Path, sources: dict[Origin, Source], programs: Path) -> Engine | None:
    for origin, source in sources.items():
        pulumi = source.binary(cache / source.directory_name())
        if pulumi.is_file():
            return _engine(origin, pulumi, source.version(), programs)
    return None


def _make(cache: Path, source: Source, progress: Progress) -> Path:
    """Makes an engine beside its place in the cache and moves it there whole, so that a killed run leaves no half."""
    directory = cache / source.directory_name()
    temporary = Path(tempfile.mkdtemp(dir=cache, prefix=f"{directory.name}{_PARTIAL}"))
    try:
        source.make(temporary, progress)
        made = _version(source.binary(temporary))
        if made != source.version():
            raise Unavailable(f"it gave version {made}, not {source.version()}")
        temporary.chmod(0o755)
        # A directory without its binary, left by a hand, would be in the way.
        shutil.rmtree(directory, ignore_errors=True)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _engine(origin: Origin, pulumi: Path, version: str, programs: Path) -> Engine:
    if origin == "go":
        return Engine(pulumi, version, origin, (pulumi.parent,), launchers.write(programs))
    host = launchers.NAMES[0]
    if (pulumi.resolve().parent / host).is_file() or shutil.which(host) is not None:
        return Engine(pulumi, version, origin, (pulumi.parent,), None)
    # Somebody's own build. It finds ours on PATH, and warns of that each time.
    launchers.write(programs)
    return Engine(pulumi, version, origin, (programs, pulumi.parent), programs)


@contextmanager
def _lock(cache: Path, progress: Progress) -> Iterator[None]:
    """One maker at a time in this cache. The system lets go of the lock when its holder ends, however it ends."""
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("another process is making the engine; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


_LABELS: dict[Origin, str] = {
    "path": "`pulumi` on PATH",
    "installer": "the official installer",
    "go": "the Go build",
}


def _nothing(passed: dict[Origin, str]) -> EngineError:
    reasons = "\n".join(f"  - {_LABELS[origin]}: {reason}" for origin, reason in passed.items())
    return EngineError(
        f"there is no Pulumi engine, and none can be made here\n{reasons}",
        "install Pulumi (https://www.pulumi.com/docs/install/) where the internet is open; "
        f"where only a Go module mirror is, install Go {go_build.minimum_go()} or newer; then run this again",
    )


def main() -> int:
    try:
        engine = ensure(lambda message: print(f"· {message}", file=sys.stderr, flush=True))
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(engine.pulumi)
    return 0


if __name__ == "__main__":
    sys.exit(main())
