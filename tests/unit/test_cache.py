"""Nodes: found by key, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_build import cache
from model_build.cache import Cache


def write_answer(directory: Path) -> None:
    (directory / "answer.txt").write_text("42")


def test_a_node_is_made_once_and_found_by_a_later_build(tmp_path: Path) -> None:
    key = cache.key("answer", of=6, times=7)
    first = Cache(tmp_path).obtain(key, write_answer, {})

    def refuse(directory: Path) -> None:
        raise AssertionError("made again")

    second = Cache(tmp_path).obtain(key, refuse, {})
    assert (first.built, second.built) == (True, False)
    assert (second.directory / "answer.txt").read_text() == "42"
    assert second.seconds == pytest.approx(first.seconds, abs=0.001)


@pytest.mark.parametrize("other", [{"of": 7, "times": 7}, {"of": 6}, {"of": "6", "times": 7}])
def test_the_key_changes_with_every_part(other: dict[str, object]) -> None:
    assert cache.key("answer", **other) != cache.key("answer", of=6, times=7)


def test_the_key_does_not_depend_on_the_order_of_its_parts() -> None:
    assert cache.key("answer", a=1, b={"x": 1, "y": 2}) == cache.key("answer", b={"y": 2, "x": 1}, a=1)


def test_what_fails_half_way_leaves_no_node(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        write_answer(directory)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        Cache(tmp_path).obtain("k", fail, {})
    assert list(tmp_path.iterdir()) == []
    assert Cache(tmp_path).obtain("k", write_answer, {}).built


@pytest.mark.parametrize(
    "damage",
    [
        lambda node: (node / "answer.txt").write_text("43"),
        lambda node: (node / "answer.txt").unlink(),
        lambda node: (node / "node.json").write_text("{"),
        lambda node: (node / "node.json").write_text("[]"),
        lambda node: (node / "node.json").unlink(),
    ],
    ids=["changed file", "missing file", "broken record", "record of another kind", "no record"],
)
def test_a_damaged_node_is_made_again(tmp_path: Path, damage: object) -> None:
    node = Cache(tmp_path).obtain("k", write_answer, {})
    damage(node.directory)  # type: ignore[operator]
    assert Cache(tmp_path).find("k") is None
    again = Cache(tmp_path).obtain("k", write_answer, {})
    assert again.built
    assert (again.directory / "answer.txt").read_text() == "42"


def test_what_a_killed_build_left_is_swept_and_a_running_one_is_left_alone(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, running = tmp_path / f"tmp-{ended.pid}-aa", tmp_path / f"tmp-{os.getpid()}-bb"
    left.mkdir()
    running.mkdir()
    Cache(tmp_path).obtain("k", write_answer, {})
    assert not left.exists()
    assert running.exists()


def test_of_two_builds_that_make_one_node_at_once_both_get_it(tmp_path: Path) -> None:
    def make_after_the_other(directory: Path) -> None:
        Cache(tmp_path).obtain("k", write_answer, {})
        write_answer(directory)

    node = Cache(tmp_path).obtain("k", make_after_the_other, {})
    assert (node.directory / "answer.txt").read_text() == "42"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]
