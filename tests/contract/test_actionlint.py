"""The workflows pass actionlint, which is built once into the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from toolchain.engine import cache_directory

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parents[2]
VERSION = "v1.7.7"


def actionlint() -> Path:
    folder = cache_directory().parent / f"actionlint-{VERSION}"
    program = folder / "actionlint"
    if not program.is_file():
        go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        if go is None:
            pytest.skip("there is no Go to build actionlint with")
        subprocess.run(
            [go, "install", f"github.com/rhysd/actionlint/cmd/actionlint@{VERSION}"],
            env=os.environ | {"GOBIN": str(folder), "GOFLAGS": "-mod=mod"},
            check=True,
            timeout=600,
        )
    return program


def test_the_workflows_pass_actionlint() -> None:
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert workflows
    done = subprocess.run(
        [actionlint(), "-no-color", *workflows], cwd=ROOT, text=True, capture_output=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_broken_workflow_would_be_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(
        "on: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: echo ${{ githup.ref }}\n"
    )
    done = subprocess.run([actionlint(), "-no-color", broken], text=True, capture_output=True, timeout=120)
    assert done.returncode == 1 and "githup" in done.stdout
