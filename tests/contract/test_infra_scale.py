"""Thirty models at once on the real engine: previewed, up, unchanged, gone. Timings are printed, and decide nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from infra_project import expected, project

from toolchain.engine import Engine

pytestmark = pytest.mark.contract

MODELS = 30
PER_MODEL = {"BucketObjectv2", "Role", "RolePolicy", "Model", "EndpointConfiguration", "Endpoint", "Target", "Policy"}


def test_thirty_models_preview_come_up_stay_as_they_are_and_leave_nothing(tmp_path: Path, engine: Engine):
    names = [f"model-{number:02}" for number in range(MODELS)]
    with project(tmp_path / "project", engine) as made:
        for number, name in enumerate(names):
            made.write_model(name, scale=number + 1, deploy={"instances": {"min": 1, "max": 2}})
        made.require("preview", "--stack", "local")
        assert made.resources() == []
        made.up()
        assert made.outputs()["endpoints"] == {name: f"{name}-local" for name in names}
        kinds = made.kinds()
        assert {kind: kinds[kind] for kind in PER_MODEL} == dict.fromkeys(PER_MODEL, MODELS)
        for number, name in enumerate(names):
            assert made.predict(f"{name}-local") == pytest.approx(expected(number + 1))
        again = made.up()
        assert "created" not in again
        assert "updated" not in again
        assert made.unchanged()
        made.require("destroy", "--yes", "--skip-preview", "--stack", "local")
        assert made.resources() == []
        assert made.cloud.sagemaker.list_endpoints()["Endpoints"] == []
        assert made.cloud.client("s3").list_buckets()["Buckets"] == []
