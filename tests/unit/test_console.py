"""What a person reads while a command works."""

from __future__ import annotations

import io
import re

import pytest

from slipway.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(text: str) -> list[str]:
    """The lines that stay on a terminal: what was cleared is gone, colours are dropped."""
    text = re.sub(r"\x1b\[\d+m", "", text)
    return [line.rpartition("\r\x1b[2K")[2] for line in text.split("\n")]


def test_each_step_ends_in_one_line_with_its_time() -> None:
    stream = io.StringIO()
    console = Console(stream)
    with console.step("build fashion"):
        console.note("chosen: export_onnx")
        with console.step("package"):
            pass
    lines = stream.getvalue().splitlines()
    assert lines[0] == "· build fashion"
    assert lines[1] == "  chosen: export_onnx"
    assert re.fullmatch(r"  ✓ package  \d+\.\d s", lines[2])
    assert re.fullmatch(r"✓ build fashion  \d+\.\d s", lines[3])


def test_a_step_that_fails_is_crossed_and_its_error_goes_on() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="broken"), Console(stream).step("build"):
        raise ValueError("broken")
    assert stream.getvalue().splitlines()[-1].startswith("✗ build")


def test_a_terminal_shows_running_steps_in_its_last_line_and_keeps_only_outcomes() -> None:
    stream = Terminal()
    console = Console(stream)
    with console.step("build"):
        with console.step("measure"):
            assert screen(stream.getvalue())[-1] == "· build › measure …"
        assert screen(stream.getvalue())[-1] == "· build …"
    kept = screen(stream.getvalue())
    assert [line.split("  ")[-2].strip() for line in kept if line] == ["✓ measure", "✓ build"]
