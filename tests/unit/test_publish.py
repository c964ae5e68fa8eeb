"""Publishing: the old folder or the new one, whenever the build is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_build import publish


def folder(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(text)
    return path


@pytest.mark.parametrize("can_exchange", [True, False])
def test_the_new_folder_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(publish, "_exchange", lambda one, other: False)
    for text in ("first", "second"):
        scratch = publish.scratch(tmp_path, "m")
        (scratch / "manifest.json").write_text(text)
        publish.publish(scratch, tmp_path / "m")
        assert (tmp_path / "m" / "manifest.json").read_text() == text
        assert [path.name for path in tmp_path.iterdir()] == ["m"]


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_the_last_good_folder_comes_back_where_a_build_was_killed_between_two_renames(tmp_path: Path) -> None:
    pid = dead_pid()
    folder(tmp_path / f".m.old-{pid}", "last good")
    folder(tmp_path / f".m.tmp-{pid}", "unfinished")
    publish.recover(tmp_path, "m")
    assert (tmp_path / "m" / "manifest.json").read_text() == "last good"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_what_a_killed_build_left_is_removed_and_other_models_are_not_touched(tmp_path: Path) -> None:
    pid = dead_pid()
    folder(tmp_path / "m", "published")
    for name in (f".m.old-{pid}", f".m.tmp-{pid}"):
        folder(tmp_path / name, "left")
    folder(tmp_path / f".n.tmp-{pid}", "of another model")
    folder(tmp_path / f".m.tmp-{os.getpid()}", "being made")
    publish.recover(tmp_path, "m")
    assert (tmp_path / "m" / "manifest.json").read_text() == "published"
    assert {path.name for path in tmp_path.iterdir()} == {"m", f".n.tmp-{pid}", f".m.tmp-{os.getpid()}"}
