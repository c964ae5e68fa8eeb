"""`image: own` on the real engine: its repository can be made alone, before the models that need an image in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from infra_project import project

from toolchain.engine import Engine

pytestmark = pytest.mark.contract


def test_the_repository_is_made_alone_and_then_the_models_beside_it(tmp_path: Path, engine: Engine):
    with project(tmp_path / "project", engine) as made:
        made.write_model("news", deploy={"image": "own"})
        made.require("up", "--yes", "--skip-preview", "--stack", "local", "--target", "**ImageRepository**")
        assert dict(made.kinds()) == {"Repository": 1, "LifecyclePolicy": 1}
        ecr = made.cloud.client("ecr")
        (repository,) = ecr.describe_repositories()["repositories"]
        assert repository["repositoryName"] == "slipway-serving-local"
        assert repository["imageTagMutability"] == "IMMUTABLE"
        assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
        made.up()
        (model,) = made.cloud.sagemaker.list_models()["Models"]
        container = made.cloud.sagemaker.describe_model(ModelName=model["ModelName"])["PrimaryContainer"]
        assert container["Image"].startswith(f"{repository['repositoryUri']}:")
        assert made.outputs()["image_repository"] == repository["repositoryUri"]
        made.require("destroy", "--yes", "--skip-preview", "--stack", "local")
        assert ecr.describe_repositories()["repositories"] == []
