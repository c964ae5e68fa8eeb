"""Child processes of the host: started, streamed, and ended with the call that wanted them.

They stay in the host's process group, which the engine kills as a whole when the host does not end by itself.
"""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Literal

STOP_SECONDS = 2.0
CHUNK = 64 * 1024

Stream = Literal["stdout", "stderr"]


class Processes:
    """The children that run. Thread-safe: each call of the engine is a thread of its own."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def start(
        self, command: Sequence[str], directory: str, environment: Mapping[str, str], *, piped: bool
    ) -> subprocess.Popen[bytes]:
        """Starts a child; one that is not piped writes where the host does, which is to the engine."""
        output = subprocess.PIPE if piped else None
        process = subprocess.Popen(
            command, cwd=directory, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        with self._lock:
            self._running.add(process)
        return process

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        return code

    def stream(self, process: subprocess.Popen[bytes]) -> Iterator[tuple[Stream, bytes]]:
        """What a piped child writes, as it comes, until both of its streams are closed."""
        written: queue.Queue[tuple[Stream, bytes]] = queue.Queue()

        def read(name: Stream, pipe: IO[bytes]) -> None:
            with pipe:
                # An empty chunk is the end, and is put too.
                while chunk := pipe.read1(CHUNK):  # type: ignore[attr-defined]
                    written.put((name, chunk))
                written.put((name, b""))

        pipes = [pipe for pipe in (("stdout", process.stdout), ("stderr", process.stderr)) if pipe[1] is not None]
        for pipe in pipes:
            threading.Thread(target=read, args=pipe, daemon=True).start()
        open_pipes = len(pipes)
        while open_pipes:
            name, chunk = written.get()
            if chunk:
                yield name, chunk
            else:
                open_pipes -= 1

    def end(self, *processes: subprocess.Popen[bytes]) -> None:
        """Asks the named children, or all, to end, and kills those that do not."""
        if not processes:
            with self._lock:
                processes = tuple(self._running)
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
