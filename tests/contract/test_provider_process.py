"""The provider plugin as a process: how the engine starts and ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import alive, wait_for

from localcloud.provider.install import LAUNCHER, install, is_installed, plugin_directory
from toolchain.engine import Engine
from toolchain.environment import variables

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_plugin_tells_its_port_and_ends_when_the_engine_says_so(number: signal.Signals) -> None:
    # The engine sends SIGINT, and after five seconds kills the plugin and calls that a bug in it.
    plugin = subprocess.Popen(
        [sys.executable, "-m", "localcloud.provider", "127.0.0.1:1"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert plugin.stdout is not None
        assert int(plugin.stdout.readline()) > 0
        plugin.send_signal(number)
        assert plugin.wait(timeout=30) == 0
    finally:
        plugin.kill()
        plugin.wait()
        if plugin.stdout:
            plugin.stdout.close()


def test_the_plugin_ends_with_an_engine_that_was_killed() -> None:
    starter = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'localcloud.provider'])"
    engine = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    try:
        assert engine.stdout is not None
        assert int(engine.stdout.readline()) > 0
        children = Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text().split()
        (plugin,) = map(int, children)
        engine.kill()
        wait_for(lambda: not alive(plugin), "the plugin's end")
    finally:
        engine.kill()
        engine.wait()
        if engine.stdout:
            engine.stdout.close()


def test_the_launcher_runs_this_checkout_from_any_folder(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.mkdir()
    # A program's module of the same name is not ours.
    (program / "localcloud.py").write_text("raise SystemExit('the wrong one')")
    launcher = plugin_directory(tmp_path / "a plugin", Path(sys.executable)) / LAUNCHER
    plugin = subprocess.Popen([launcher], cwd=program, stdout=subprocess.PIPE, text=True)
    try:
        assert plugin.stdout is not None
        assert int(plugin.stdout.readline()) > 0
        plugin.terminate()
        assert plugin.wait(timeout=30) == 0
    finally:
        plugin.kill()
        plugin.wait()
        if plugin.stdout:
            plugin.stdout.close()


def test_the_plugin_is_installed_once_for_each_python(engine: Engine, tmp_path: Path) -> None:
    environment = {**os.environ, **variables(tmp_path, engine)}
    assert not is_installed(environment, Path(sys.executable))
    assert install(engine.pulumi, environment)
    assert not install(engine.pulumi, environment)
    listed = subprocess.run(
        [engine.pulumi, "plugin", "ls"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "0.0.1" in listed
    # Another environment's Python takes its place.
    other = Path(sys.executable).with_name("python-of-another-environment")
    assert install(engine.pulumi, environment, python=other)
    assert not is_installed(environment, Path(sys.executable))
    assert is_installed(environment, other)
