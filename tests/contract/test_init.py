"""What `slipway init` writes builds at once: every example is trained and goes through its gates."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from model_build import build
from slipway.commands.init import command
from slipway.initialize import TASKS

pytestmark = pytest.mark.contract


def test_every_example_trains_builds_and_passes_its_gates(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: example\nruntime: python\n")
    for task in TASKS:
        name = task.partition("-")[0] + "-example"
        done = CliRunner().invoke(command, [name, "--task", task], obj=tmp_path, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    outcomes, failures = build.attempt_all((), tmp_path, jobs=2)
    assert failures == []
    assert len(outcomes) == len(TASKS)
    for outcome in outcomes:
        assert outcome.manifest.chosen.score is not None and outcome.manifest.chosen.score >= 0.9
        assert outcome.manifest.sample is not None
