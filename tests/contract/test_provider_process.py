"""The provider plugin as a process: how the engine starts and ends it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

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
