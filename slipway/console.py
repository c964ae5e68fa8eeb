"""What a person reads while a command works: one line a step, with its time, and ✓ or ✗ when it is done."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Console:
    """Prints steps to standard error, so that standard output stays for results.

    On a terminal the last line shows the running steps and is replaced by their outcome; elsewhere each outcome is a
    line, and an outermost step is announced by one too, since it can take minutes.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.running: list[str] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        indent = "  " * len(self.running)
        if not self.live and not self.running:
            self._write(f"· {title}\n")
        started = time.monotonic()
        self.running.append(title)
        self._show_running()
        outcome = self._paint("✗", 31)
        try:
            yield
            outcome = self._paint("✓", 32)
        finally:
            self.running.pop()
            self._line(f"{indent}{outcome} {title}  {self._paint(_duration(time.monotonic() - started), 2)}")

    def note(self, text: str) -> None:
        """A line below the running step."""
        self._line("  " * len(self.running) + text)

    def clear(self) -> None:
        """Makes room on a terminal for another program's output."""
        if self.live:
            self._write("\r\x1b[2K")

    def _line(self, text: str) -> None:
        self.clear()
        self._write(f"{text}\n")
        self._show_running()

    def _show_running(self) -> None:
        if self.live and self.running:
            width = shutil.get_terminal_size().columns
            self.clear()
            self._write(f"· {' › '.join(self.running)} …"[: width - 1])

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.live else text


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {seconds % 60:.0f} s"
