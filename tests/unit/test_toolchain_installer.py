"""The official installer must tell within seconds that it is out of reach."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from toolchain import installer
from toolchain.errors import Unavailable


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/install.sh" else 403)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_site_that_answers_is_reachable(site: str) -> None:
    assert installer.unreachable(f"{site}/install.sh", 5) is None


def test_a_site_that_refuses_is_out_of_reach(site: str) -> None:
    assert "Forbidden" in str(installer.unreachable(f"{site}/other", 5))


def test_a_closed_port_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "refused" in str(installer.unreachable(f"http://127.0.0.1:{port}/install.sh", 5))


def test_a_site_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reason = installer.unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}/install.sh", 0.3)
    assert reason is not None
    assert "timed out" in reason or "no answer" in reason


def test_an_installation_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "unreachable", lambda url, seconds: None)
    monkeypatch.setattr(installer, "INSTALL_SECONDS", 0.5)
    monkeypatch.setattr(installer, "_INSTALL", "import subprocess; subprocess.run(['sleep', '600'])")
    started = time.monotonic()
    with pytest.raises(Unavailable, match="did not finish"):
        installer.make(tmp_path, lambda line: None)
    assert time.monotonic() - started < 300, "the installer's own children hold it no longer"


def test_an_installation_that_installs_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "unreachable", lambda url, seconds: None)
    monkeypatch.setattr(installer, "_INSTALL", "print('done')")
    with pytest.raises(Unavailable, match="it failed: done"):
        installer.make(tmp_path, lambda line: None)
