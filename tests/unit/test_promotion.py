"""A deployment is of a commit: files that differ from it are named before anything is deployed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from built_models import write_model

from model_build.errors import UserError
from slipway.promotion import require_committed


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("build/\n")
    write_model(tmp_path, "news")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "-m", "a model")
    return tmp_path


def test_what_was_built_from_the_commit_goes(committed: Path) -> None:
    (committed / "notes.txt").write_text("of no model")
    require_committed(committed)


def test_a_spec_that_differs_from_the_commit_is_named(committed: Path) -> None:
    (committed / "specs/news.yaml").write_text("name: news\n# edited\n")
    with pytest.raises(UserError, match=r"specs/news\.yaml"):
        require_committed(committed)


def test_a_model_that_was_never_committed_is_named(committed: Path) -> None:
    write_model(committed, "fashion")
    with pytest.raises(UserError, match=r"specs/fashion\.yaml") as caught:
        require_committed(committed)
    assert "news" not in str(caught.value)
    assert "commit, then run: slipway build" in str(caught.value)


def test_a_name_with_special_characters_is_taken_as_it_is(committed: Path) -> None:
    manifest = write_model(committed, "news")
    odd = committed / "data *.bin"
    odd.write_bytes(b"x")
    inputs = {**manifest.inputs, odd.name: "0" * 64}
    changed = manifest.model_copy(update={"inputs": inputs}).sealed()
    (committed / "build/news/manifest.json").write_text(changed.to_json())
    with pytest.raises(UserError, match=r"data \*\.bin"):
        require_committed(committed)


def test_outside_of_a_repository_there_is_nothing_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    write_model(tmp_path, "news")
    require_committed(tmp_path)
