"""What a person reads while a command works: one line a step, with its time, and ✓ or ✗ when it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Console:
    """Prints steps to standard error, so that standard output stays for results.

    On a terminal the running step is shown and replaced by its outcome; elsewhere each step is one line.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.depth = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        indent = "  " * self.depth
        if self.live:
            self._write(f"{indent}· {title} …")
        elif self.depth == 0:
            self._write(f"· {title}\n")
        started = time.monotonic()
        self.depth += 1
        try:
            yield
        except BaseException:
            self._finish(f"{indent}{self._paint('✗', 31)} {title}", started)
            raise
        finally:
            self.depth -= 1
        self._finish(f"{indent}{self._paint('✓', 32)} {title}", started)

    def note(self, text: str) -> None:
        """A line below the running step."""
        self._clear()
        self._write("  " * self.depth + f"{text}\n")

    def _finish(self, line: str, started: float) -> None:
        self._clear()
        self._write(f"{line}  {self._paint(_duration(time.monotonic() - started), 2)}\n")

    def _clear(self) -> None:
        if self.live:
            self._write("\r\x1b[2K")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.live else text


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {seconds % 60:.0f} s"
