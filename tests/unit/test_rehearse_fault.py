"""A bad version starts as the good one does, and fails at every prediction as it is told to."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from serving_artifacts import write_artifact

from slipway import rehearse_fault
from slipway.rehearse_fault import Fault, bad_version

ASK = """
import sys
from pathlib import Path
from serving import program
loaded = program.load(Path(sys.argv[1]))
print("loaded", flush=True)
data = loaded.input_fn(b'{"inputs": {"x": [[1, 0, 2]]}}', "application/json")
answer = loaded.output_fn(loaded.predict_fn(data, loaded.model), "application/json")
answer = answer[0] if isinstance(answer, tuple) else answer
print(answer if isinstance(answer, str) else bytes(answer).decode())
"""


def unpacked(tmp_path: Path, fault: Fault, code: bool) -> Path:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(write_artifact(tmp_path / "good", "tensor", code=code), arcname=".")
    with tarfile.open(fileobj=io.BytesIO(bad_version(packed.getvalue(), fault)), mode="r:gz") as tar:
        tar.extractall(tmp_path / "bad", filter="data")
    return tmp_path / "bad"


def asked(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ASK, str(directory)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )


@pytest.mark.parametrize("code", [True, False])
def test_a_version_with_errors_loads_and_raises(tmp_path: Path, code: bool) -> None:
    done = asked(unpacked(tmp_path, "errors", code))
    assert done.stdout == "loaded\n"
    assert "the fault that slipway rehearse --bad put in" in done.stderr


def test_a_version_that_crashes_ends_its_process(tmp_path: Path) -> None:
    done = asked(unpacked(tmp_path, "crash", True))
    assert (done.stdout, done.returncode, done.stderr) == ("loaded\n", 1, "")


def test_a_slow_version_answers_as_the_good_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rehearse_fault._DOES, "slow", "time.sleep(0.01)")
    done = asked(unpacked(tmp_path, "slow", True))
    assert json.loads(done.stdout.splitlines()[1]) == {"outputs": {"output": [[11.0, 14.0]]}}
