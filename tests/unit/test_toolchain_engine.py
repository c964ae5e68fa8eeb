"""The order in which an engine is looked for, with small scripts in place of pulumi and go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from toolchain import engine, go_build, installer
from toolchain.engine import EngineError, ensure

CHECKOUT = Path(engine.__file__).parent.parent

# What `go` is called with lands in go.log; `go build -o FILE` writes a pulumi that tells the right version.
GO = f"""
    import os, sys, time
    from pathlib import Path
    here = Path(sys.argv[0]).parent
    with (here / "go.log").open("a") as log:
        print(*sys.argv[1:], file=log)
    if sys.argv[1] == "list":
        print("one\\ntwo")
        sys.exit()
    time.sleep(float(os.environ.get("FAKE_GO_SECONDS", "0")))
    if "FAKE_GO_ERROR" in os.environ:
        sys.exit(os.environ["FAKE_GO_ERROR"])
    out = Path(sys.argv[sys.argv.index("-o") + 1])
    out.write_text("#!/bin/sh\\necho v" + os.environ.get("FAKE_GO_VERSION", "{go_build.VERSION}") + "\\n")
    out.chmod(0o755)
"""


class Machine:
    """A PATH of one folder, a cache of its own, and no network."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin = root / "bin"
        self.cache = root / "cache"
        self.programs = root / "programs"
        self.bin.mkdir()
        self.said: list[str] = []
        for name in ("SLIPWAY_ENGINE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setenv("SLIPWAY_CACHE", str(self.cache))
        monkeypatch.setattr(installer, "unreachable", lambda url, seconds: "there is no network")

    def install(self, name: str, script: str) -> Path:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def install_go(self) -> None:
        path = self.bin / "go"
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(GO)}")
        path.chmod(0o755)

    def builds(self) -> int:
        log = self.bin / "go.log"
        return sum(line.startswith("build") for line in log.read_text().splitlines()) if log.exists() else 0

    def ensure(self) -> engine.Engine:
        return ensure(self.said.append, programs=self.programs)

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """The same in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "toolchain.engine"],
            cwd=CHECKOUT,
            env=os.environ | {"SLIPWAY_ENGINE": "go"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kept(self) -> list[str]:
        return sorted(path.name for path in (self.cache / "engine").iterdir() if path.name != ".lock")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_a_pulumi_on_path_is_used(machine: Machine) -> None:
    pulumi = machine.install("pulumi", "echo v3.400.1-alpha.7")
    machine.install("pulumi-language-python", "exit 1")
    machine.install_go()
    found = machine.ensure()
    assert found == engine.Engine(pulumi, "3.400.1", "path", (machine.bin,), None)
    assert machine.said == []
    assert not machine.cache.exists()


def test_a_pulumi_on_path_without_a_language_host_gets_ours(machine: Machine) -> None:
    machine.install("pulumi", "echo v3.400.1")
    found = machine.ensure()
    assert found.path_entries == (machine.programs, machine.bin)
    assert found.programs == machine.programs
    assert os.access(machine.programs / "pulumi-language-python", os.X_OK)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo v3.100.0", "version 3.100.0, which is too old; at least 3.259.0"),
        ("echo v4.0.0", "version 4.0.0; version 3 is needed"),
        ("echo hello", "does not tell its version (hello)"),
        ("echo v3.300.0; echo broken >&2; exit 1", "does not tell its version (broken)"),
    ],
)
def test_a_pulumi_that_does_not_fit_is_named_and_passed_over(machine: Machine, script: str, said: str) -> None:
    machine.install("pulumi", script)
    machine.install_go()
    assert machine.ensure().origin == "go"
    assert said in machine.said[0]


def test_the_engine_is_built_once_and_then_taken_from_the_cache(machine: Machine) -> None:
    machine.install_go()
    first = machine.ensure()
    assert first.origin == "go"
    assert first.version == go_build.VERSION
    assert first.path_entries == (first.pulumi.parent,)
    assert first.programs == machine.programs
    assert any("there is no network" in line for line in machine.said)
    assert os.access(first.pulumi.parent / "pulumi-language-python", os.X_OK)

    machine.said.clear()
    (machine.bin / "go").unlink()
    assert machine.ensure() == first
    assert machine.said == []
    assert machine.builds() == 1
    assert machine.kept() == [go_build.directory_name()]


def test_our_own_engine_on_path_is_not_taken_for_somebody_elses(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install_go()
    first = machine.ensure()
    monkeypatch.setenv("PATH", str(first.pulumi.parent))
    assert machine.ensure() == first


def test_the_installer_comes_before_the_build(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install_go()
    monkeypatch.setattr(installer, "unreachable", lambda url, seconds: None)
    monkeypatch.setattr(
        installer,
        "_INSTALL",
        "import pathlib, sys; d = pathlib.Path(sys.argv[1], 'bin'); d.mkdir(); p = d / 'pulumi';"
        f"p.write_text('#!/bin/sh\\necho v{installer.version()}\\n'); p.chmod(0o755);"
        "(d / 'pulumi-language-python').write_text('')",
    )
    found = machine.ensure()
    assert found.origin == "installer"
    assert found.version == installer.version()
    assert found.programs is None
    assert machine.builds() == 0
    assert machine.kept() == [installer.directory_name()]


def test_an_installer_that_fails_is_followed_by_the_build(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install_go()
    monkeypatch.setattr(installer, "unreachable", lambda url, seconds: None)
    monkeypatch.setattr(installer, "_INSTALL", "raise SystemExit('the download broke off')")
    assert machine.ensure().origin == "go"
    assert any("the download broke off" in line for line in machine.said)


def test_no_go_and_no_network_is_one_clear_error(machine: Machine) -> None:
    with pytest.raises(EngineError) as caught:
        machine.ensure()
    text = str(caught.value)
    assert "`pulumi` on PATH: not found" in text
    assert "the official installer: it is out of reach (there is no network)" in text
    assert "the Go build: there is no `go` on PATH" in text
    assert f"install Go {go_build.minimum_go()} or newer" in caught.value.next_step
    assert machine.kept() == []


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("go: module x: Get y: dial tcp: lookup z: no such host", "the Go module proxy cannot be reached"),
        ("go: go.mod requires go >= 1.99 (running go 1.21)", "this Go is too old"),
        ("write /x: no space left on device", "the disk is full"),
        ("verifying x: checksum mismatch", "not what go.sum pins"),
        ("x.go:1: undefined: y", "Go failed: x.go:1: undefined: y"),
    ],
)
def test_a_failed_build_says_why_and_leaves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, said: str, meaning: str
) -> None:
    machine.install_go()
    monkeypatch.setenv("FAKE_GO_ERROR", said)
    with pytest.raises(EngineError) as caught:
        machine.ensure()
    assert meaning in caught.value.message
    assert said in caught.value.message
    assert machine.kept() == []


def test_a_build_of_another_version_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install_go()
    monkeypatch.setenv("FAKE_GO_VERSION", "3.1.0")
    with pytest.raises(EngineError, match=r"it gave version 3\.1\.0"):
        machine.ensure()
    assert machine.kept() == []


def test_a_killed_build_does_not_hinder_the_next(machine: Machine) -> None:
    machine.install_go()
    with machine.start(FAKE_GO_SECONDS="2") as process:
        while not machine.builds():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        # Its go outlives it for a moment, holds its streams open, and finds nowhere to write.
    assert [name for name in machine.kept() if ".partial-" in name]
    assert machine.ensure().origin == "go"
    assert machine.kept() == [go_build.directory_name()]


def test_two_checkouts_at_once_build_once(machine: Machine) -> None:
    machine.install_go()
    with machine.start(FAKE_GO_SECONDS="1") as first, machine.start(FAKE_GO_SECONDS="1") as second:
        answers = [process.communicate(timeout=60) for process in (first, second)]
    expected = str(machine.cache / "engine" / go_build.directory_name() / "pulumi")
    assert [output.strip() for output, _ in answers] == [expected, expected], answers
    assert machine.builds() == 1


def test_an_origin_can_be_forced(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install("pulumi", "echo v3.400.1")
    machine.install_go()
    monkeypatch.setenv("SLIPWAY_ENGINE", "go")
    assert machine.ensure().origin == "go"
    monkeypatch.setenv("SLIPWAY_ENGINE", "path")
    assert machine.ensure().origin == "path"
    monkeypatch.setenv("SLIPWAY_ENGINE", "apt")
    with pytest.raises(EngineError, match="path, installer, go"):
        machine.ensure()


def test_a_cache_that_cannot_be_written_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install_go()
    machine.cache.write_text("a file where a folder should be")
    with pytest.raises(EngineError, match="SLIPWAY_CACHE") as caught:
        machine.ensure()
    assert str(machine.cache) in caught.value.message


def test_the_command_prints_the_error_without_a_traceback(machine: Machine) -> None:
    with machine.start() as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output == ""
    assert "there is no `go` on PATH" in errors
    assert "Traceback" not in errors


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SLIPWAY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine.cache_directory() == tmp_path / "slipway" / "engine"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine.cache_directory() == tmp_path / ".cache" / "slipway" / "engine"
