"""Processing jobs: what is particular to their requests; the work itself is `processing_work`'s."""

from __future__ import annotations

import time
from typing import Any

from localcloud.sagemaker import processing_request
from localcloud.sagemaker.catalog import Catalog, check_role
from localcloud.sagemaker.fleet import Workshop
from localcloud.sagemaker.job_records import Jobs
from localcloud.sagemaker.jobs import Machine
from localcloud.sagemaker.processing_work import Work


class ProcessingJobs(Jobs):
    """The processing jobs of one region."""

    KIND = "Processing"
    MISSING = "ResourceNotFound"

    def __init__(self, catalog: Catalog, workshop: Workshop, machine: Machine) -> None:
        super().__init__(catalog, workshop)
        self._machine = machine

    def work(self, request: dict[str, Any]) -> Work:
        """Raises AwsError for an unusable role, and what is not emulated."""
        plan = processing_request.read(request)
        check_role(request["RoleArn"])
        stream = f"{request['ProcessingJobName']}/algo-1-{int(time.time())}"
        return Work(request, plan, self._catalog.region, self._machine, stream)
