"""The launchers by which a shared engine finds this checkout's language host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from toolchain import launchers


def test_a_forwarder_starts_the_program_of_the_checkout_that_is_named(tmp_path: Path) -> None:
    launchers.write_forwarders(tmp_path)
    programs = tmp_path / "a checkout"
    programs.mkdir()
    program = programs / "pulumi-language-python"
    program.write_text('#!/bin/sh\necho "$#: $1"\n')
    program.chmod(0o755)
    command = [tmp_path / "pulumi-language-python", "two words"]
    done = subprocess.run(
        command, env=os.environ | {launchers.VARIABLE: str(programs)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1: two words\n"


def test_a_forwarder_without_a_checkout_says_what_to_do(tmp_path: Path) -> None:
    launchers.write_forwarders(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != launchers.VARIABLE}
    done = subprocess.run([tmp_path / "pulumi-language-python"], env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert 'eval "$(slipway env)"' in done.stderr


def test_launchers_are_replaced_only_where_they_differ(tmp_path: Path) -> None:
    launchers.write(tmp_path)
    path = tmp_path / launchers.NAMES[0]
    before = path.stat().st_ino
    launchers.write(tmp_path)
    assert path.stat().st_ino == before
    path.write_text("#!/bin/sh\n")
    launchers.write(tmp_path)
    assert "toolchain.language_host" in path.read_text()
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(launchers.NAMES)
