"""Transform jobs: what is particular to their requests; the work itself is `transform_work`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localcloud.sagemaker import transform_request
from localcloud.sagemaker.catalog import Catalog
from localcloud.sagemaker.fleet import Workshop
from localcloud.sagemaker.job_records import Jobs
from localcloud.sagemaker.transform_work import Work


class Transforms(Jobs):
    """The transform jobs of one region."""

    KIND = "Transform"
    MISSING = "ValidationException"

    def __init__(self, catalog: Catalog, workshop: Workshop, logs: Path) -> None:
        super().__init__(catalog, workshop)
        self._logs = logs

    def work(self, request: dict[str, Any]) -> Work:
        """Raises AwsError for a model that does not exist, and what is not emulated."""
        name = request["TransformJobName"]
        plan = transform_request.read(request)
        container = dict(self._catalog.model(request["ModelName"]).request["PrimaryContainer"])
        return Work(name, plan, container, self._catalog.region, self._workshop, self._logs / name)
