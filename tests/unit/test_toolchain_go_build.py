"""The pinned Go modules, and what names their build in the cache."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from toolchain import go_build


def test_the_module_file_pins_the_version_that_is_built() -> None:
    text = (go_build.MODULE / "go.mod").read_text()
    assert f"require github.com/pulumi/pulumi/pkg/v3 v{go_build.VERSION}\n" in text
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", go_build.minimum_go())


def test_the_module_files_name_no_registry() -> None:
    for path in go_build.MODULE.iterdir():
        assert "://" not in path.read_text(), path.name


def test_a_changed_pin_or_flag_is_another_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = go_build.directory_name()
    assert pinned.startswith(f"v{go_build.VERSION}-")
    copy = shutil.copytree(go_build.MODULE, tmp_path / "go")
    monkeypatch.setattr(go_build, "MODULE", copy)
    assert go_build.directory_name() == pinned
    with (copy / "go.sum").open("a") as stream:
        stream.write("\n")
    changed = go_build.directory_name()
    monkeypatch.setattr(go_build, "FLAGS", (*go_build.FLAGS, "-race"))
    assert len({pinned, changed, go_build.directory_name()}) == 3
