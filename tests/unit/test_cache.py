"""Nodes: found by key, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_build import archive, cache
from model_build.cache import Cache
from model_build.progress import SILENT, Progress, Silent
from model_build.shared_cache import SharedCache
from stores.folder import FolderStore
from stores.store import Stat, StoreError

FROM_HERE = os.environ | {"PYTHONPATH": str(Path(cache.__file__).parent.parent)}


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
    host = cache._host()
    left, running, elsewhere = (
        tmp_path / f"tmp-{ended.pid}-{host}-aa",
        tmp_path / f"tmp-{os.getpid()}-{host}-bb",
        tmp_path / f"tmp-{ended.pid}-00000000-cc",
    )
    for folder in (left, running, elsewhere):
        folder.mkdir()
    Cache(tmp_path).obtain("k", write_answer, {})
    assert not left.exists()
    assert running.exists()
    assert elsewhere.exists()


MAKE_SLOWLY = """
import os, pathlib, sys, time
from model_build.cache import Cache

def make(directory):
    with open("makers", "a") as stream:
        stream.write(f"{os.getpid()}\\n")
    time.sleep(0.3)
    (directory / "answer.txt").write_text("42")

print(Cache(pathlib.Path("nodes")).obtain("k", make, {}).built)
"""


def test_of_several_processes_that_need_one_node_at_once_one_makes_it(tmp_path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", MAKE_SLOWLY], cwd=tmp_path, env=FROM_HERE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    said = sorted(process.communicate()[0].decode().strip() for process in started)
    assert said == ["False", "False", "False", "True"]
    assert len((tmp_path / "makers").read_text().split()) == 1


def test_a_killed_maker_does_not_keep_the_next_one_waiting(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", MAKE_SLOWLY.replace("0.3", "600")], cwd=tmp_path, env=FROM_HERE)
    while not (tmp_path / "makers").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (tmp_path / "locks" / "k.lock").read_text().startswith(f"process {process.pid} on ")
    assert Cache(tmp_path / "nodes").obtain("k", write_answer, {}).built
    assert [path.name for path in (tmp_path / "nodes").iterdir()] == ["k"]
    assert list((tmp_path / "locks").iterdir()) == []


def test_who_waits_is_told_for_whom(tmp_path: Path) -> None:
    told: list[str] = []

    class Told(Silent):
        def note(self, text: str, /) -> None:
            told.append(text)
            let_go.set()

    let_go, inside = threading.Event(), threading.Event()

    def make(directory: Path) -> None:
        inside.set()
        assert let_go.wait(60)
        write_answer(directory)

    first = threading.Thread(target=lambda: Cache(tmp_path / "nodes").obtain("k", make, {}))
    first.start()
    assert inside.wait(60)
    assert not Cache(tmp_path / "nodes", progress=Told()).obtain("k", make, {}).built
    first.join()
    (text,) = told
    assert text.startswith(f"process {os.getpid()} on ")


class TestSharedNodes:
    """Two machines are two folders of nodes here."""

    def test_what_one_machine_made_another_fetches(self, tmp_path: Path) -> None:
        self.cache(tmp_path, "one").obtain("k", write_answer, {})
        node = self.cache(tmp_path, "two").find("k")
        assert node is not None
        assert (node.directory / "answer.txt").read_text() == "42"
        assert not self.cache(tmp_path, "three").obtain("k", write_answer, {}).built

    @pytest.mark.parametrize("damage", ["truncated", "other content", "of another key"])
    def test_a_damaged_one_is_made_here_and_the_build_says_so(self, tmp_path: Path, damage: str) -> None:
        self.cache(tmp_path, "one").obtain("kk", write_answer, {})
        (stored,) = (tmp_path / "shared").rglob("kk.tar.gz")
        if damage == "truncated":
            stored.write_bytes(stored.read_bytes()[:-30])
        elif damage == "other content":
            record = (tmp_path / "one" / "nodes" / "kk" / "node.json").read_bytes()
            archive.pack({"answer.txt": b"43", "node.json": record}, stored)
        else:
            self.cache(tmp_path, "one").obtain("other", write_answer, {})
            (other,) = (tmp_path / "shared").rglob("other.tar.gz")
            stored.write_bytes(other.read_bytes())
        told = Notes()
        node = self.cache(tmp_path, "two", told).obtain("kk", write_answer, {})
        assert node.built
        assert (node.directory / "answer.txt").read_text() == "42"
        assert [path.name for path in (tmp_path / "two" / "nodes").iterdir()] == ["kk"]
        (text,) = told.notes
        assert text.startswith("warning: node kk of the shared cache is damaged")
        assert self.cache(tmp_path, "three").find("kk") is not None, "what was made did not replace it"

    def test_one_that_would_unpack_outside_of_its_folder_is_refused(self, tmp_path: Path) -> None:
        stored = tmp_path / "shared" / "nodes" / "k" / "k.tar.gz"
        stored.parent.mkdir(parents=True)
        archive.pack({"../../../escaped": b"x"}, stored)
        assert self.cache(tmp_path, "two").find("k") is None
        assert not list(tmp_path.rglob("escaped"))

    def test_a_store_that_cannot_be_reached_is_told_once_and_not_asked_again(self, tmp_path: Path) -> None:
        told, store = Notes(), Unreachable()
        cache = Cache(tmp_path / "nodes", SharedCache(store, told))
        for key in ("a", "b", "c"):
            assert cache.obtain(key, write_answer, {}).built
        assert store.asked == 1
        assert told.notes == ["warning: the shared cache cannot be read (no route); going on without it"]

    def test_a_store_that_may_only_be_read_is_read_on(self, tmp_path: Path) -> None:
        self.cache(tmp_path, "one").obtain("old", write_answer, {})
        told = Notes()
        cache = Cache(tmp_path / "two" / "nodes", SharedCache(ReadOnly(tmp_path / "shared"), told))
        assert cache.obtain("new", write_answer, {}).built
        assert cache.obtain("newer", write_answer, {}).built
        assert not cache.obtain("old", write_answer, {}).built
        assert told.notes == ["warning: the shared cache cannot be written (not allowed); it is only read from now on"]

    @staticmethod
    def cache(root: Path, machine: str, progress: Progress = SILENT) -> Cache:
        return Cache(root / machine / "nodes", SharedCache(FolderStore(root / "shared"), progress))


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str, /) -> None:
        self.notes.append(text)


class Unreachable:
    asked = 0
    url = "none"

    def get(self, name: str, target: Path, **how: object) -> bool:
        self.asked += 1
        raise StoreError("no route")

    def put(self, name: str, source: Path, **how: object) -> bool:
        raise AssertionError("asked again")

    def stat(self, name: str) -> None:
        raise AssertionError("asked again")

    def list(self, prefix: str = "") -> Iterator[Stat]:
        raise AssertionError("asked again")


class ReadOnly(FolderStore):
    def put(self, name: str, source: Path, **how: object) -> bool:
        raise StoreError("not allowed")
