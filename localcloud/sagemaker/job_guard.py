"""`python job_guard.py COMMAND…`: runs a job's command, and ends it when the server that started it is gone.

A program of its own, since a job's command knows nothing of the server: this one holds the pipe that closes with it,
however it ends. The standard library alone, so that it starts at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

STOP_GRACE_SECONDS = 10.0


def main(command: list[str]) -> int:
    # Whoever stops a job signals the whole group. A handler, as `exec` takes it off again: the command shall get it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    threading.Thread(target=_end_with_server, daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _end_with_server() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(STOP_GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
