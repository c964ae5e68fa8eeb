"""What a process takes away from itself before it reads a file that could run code: network, programs, memory, time.

On Linux it moves into a network namespace of its own, which has no interface, where the kernel lets it. An audit hook
of Python's refuses sockets, programs and changes of files everywhere; it cannot be removed again. Neither is a wall
against native code that exploits a fault of a library: open only files of people you trust.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
SIGKILL = 9

_REFUSED = (
    *("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate"),
    *("pty.", "os.kill", "os.killpg", "os.putenv", "shutil.", "ftplib.", "http.", "urllib.", "smtplib.", "webbrowser."),
)


def leave_network() -> bool:
    """Moves into an empty network namespace, and ends with the parent. Tells whether the kernel let it.

    To be called first: a process that has threads already cannot leave its user namespace.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # With a user namespace an ordinary user may do it, and root loses its privileges outside.
    return any(libc.unshare(flags) == 0 for flags in (CLONE_NEWUSER | CLONE_NEWNET, CLONE_NEWNET))


def limit(memory: int, seconds: int, written: int) -> None:
    """Bytes of memory beside what is in use, seconds of processor time from now, bytes of one written file."""
    if sys.platform == "win32":
        return
    import resource

    used = _address_space()
    spent = int(sum(os.times()[:2]))
    for what, most in (
        (resource.RLIMIT_AS, used + memory),
        (resource.RLIMIT_CPU, spent + seconds),
        (resource.RLIMIT_FSIZE, written),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def forbid(scratch: Path) -> None:
    """Refuses, from now on, sockets, programs, and writing anywhere but into `scratch`."""
    inside = str(scratch.resolve()) + os.sep

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED):
            raise PermissionError(f"{event} is refused while a pickled file is read")
        if event == "open" and _writes(arguments) and not _within(arguments[0], inside):
            raise PermissionError(f"writing {arguments[0]} is refused while a pickled file is read")

    sys.addaudithook(hook)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str) and set(mode) & set("wax+"):
        return True
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _within(path: Any, folder: str) -> bool:
    if not isinstance(path, (str, bytes)):
        return isinstance(path, int)  # a descriptor that is open already
    return os.path.realpath(os.fsdecode(path)).startswith(folder)


def _address_space() -> int:
    """Bytes of address space in use; where that is not told, a guess that leaves room for the libraries."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 4 << 30
