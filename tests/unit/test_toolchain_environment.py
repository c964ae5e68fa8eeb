"""The variables with which plain pulumi works on a checkout's local stack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolchain import environment
from toolchain.engine import Engine


@pytest.fixture
def ours(tmp_path: Path) -> Engine:
    return Engine(tmp_path / "engine/pulumi", "3.259.0", "go", (tmp_path / "engine",), tmp_path / "programs")


def test_state_and_plugins_lie_in_the_checkout(tmp_path: Path, ours: Engine) -> None:
    root = tmp_path / "a checkout"
    settings = environment.variables(root, ours)
    assert settings["PULUMI_BACKEND_URL"] == (root / ".slipway/state").as_uri()
    assert settings["PULUMI_HOME"] == str(root / ".slipway/pulumi")
    assert (root / ".slipway/state").is_dir()
    assert settings["PULUMI_CONFIG_PASSPHRASE"] == ""


def test_the_engine_comes_first_on_path_and_once(tmp_path: Path, ours: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join(["/one", str(tmp_path / "engine"), "/two"]))
    settings = environment.variables(tmp_path, ours)
    assert settings["PATH"].split(os.pathsep) == [str(tmp_path / "engine"), "/one", "/two"]


def test_only_an_engine_without_a_host_is_told_of_ours(tmp_path: Path, ours: Engine) -> None:
    assert environment.variables(tmp_path, ours)["SLIPWAY_PROGRAMS"] == str(tmp_path / "programs")
    official = Engine(tmp_path / "bin/pulumi", "3.272.0", "path", (tmp_path / "bin",), None)
    assert "SLIPWAY_PROGRAMS" not in environment.variables(tmp_path, official)
