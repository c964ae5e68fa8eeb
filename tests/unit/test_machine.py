"""Work of several builds at once, or one that measures: between processes, and never a deadlock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from model_build import machine

CHILD = """
import sys
from model_build import machine
with getattr(machine, sys.argv[1])():
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


class Child:
    """Another process that works or measures until it is told to end."""

    def __init__(self, kind: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(Path(machine.__file__).parent.parent)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, kind], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.entered = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        if self.process.stdout.readline():
            self.entered.set()
        self.process.stdout.close()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def test_two_may_work_at_once(own_machine: None) -> None:
    child = Child("working")
    assert child.entered.wait(30)
    with machine.working():
        pass
    child.end()


@pytest.mark.parametrize(("first", "second"), [("working", "measuring"), ("measuring", "working"), ("measuring",) * 2])
def test_who_measures_is_alone(first: str, second: str) -> None:
    one = Child(first)
    assert one.entered.wait(30)
    two = Child(second)
    assert not two.entered.wait(0.5)
    one.end()
    assert two.entered.wait(30)
    two.end()


def test_who_waits_to_measure_is_not_overtaken_by_new_work() -> None:
    worker = Child("working")
    assert worker.entered.wait(30)
    measurer = Child("measuring")
    assert not measurer.entered.wait(0.5)
    late = Child("working")
    assert not late.entered.wait(0.5)
    worker.end()
    assert measurer.entered.wait(30)
    assert not late.entered.is_set()
    measurer.end()
    assert late.entered.wait(30)
    late.end()


def test_a_killed_measurer_lets_work_go_on() -> None:
    measurer = Child("measuring")
    assert measurer.entered.wait(30)
    measurer.process.kill()
    with machine.working():
        pass
    measurer.end()


def test_work_within_work_and_a_measurement_within_it_do_not_wait_for_themselves() -> None:
    with machine.working(), machine.working(), machine.measuring():
        child = Child("working")
        assert not child.entered.wait(0.5)
    assert child.entered.wait(30)
    child.end()


def test_who_rests_lets_others_measure() -> None:
    with machine.working():
        child = Child("measuring")
        assert not child.entered.wait(0.5)
        with machine.resting():
            assert child.entered.wait(30)
            child.end()
