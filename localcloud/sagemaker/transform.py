"""Transform jobs: what is asked for, what is told of them, and their ends; the work itself is `transform_work`'s."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud.errors import AwsError, ValidationException
from localcloud.sagemaker import transform_request
from localcloud.sagemaker.catalog import Catalog
from localcloud.sagemaker.fleet import FAILURE_REASON_LIMIT, Workshop
from localcloud.sagemaker.listing import list_page
from localcloud.sagemaker.transform_work import TransformError, Work

log = logging.getLogger(__name__)

INTERRUPTED = "InternalServerError: the local AWS ended while the job ran. Start the job again."


class TransformJob:
    """One job: its request, and how far it is. Times are on the clock; `modified` is of the last change of status."""

    def __init__(self, arn: str, request: dict[str, Any], created: float) -> None:
        self.name: str = request["TransformJobName"]
        self.arn = arn
        self.request = request
        self.created = self.modified = created
        self.status = "InProgress"
        self.failure: str | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.work: asyncio.Task[None] | None = None

    def end(self, status: str, moment: float, failure: str | None = None) -> None:
        self.status, self.ended, self.modified = status, moment, moment
        if failure is not None:
            long = len(failure) > FAILURE_REASON_LIMIT
            self.failure = f"{failure[: FAILURE_REASON_LIMIT - 1]}…" if long else failure

    def _times(self) -> dict[str, Any]:
        moments = {"TransformStartTime": self.started, "TransformEndTime": self.ended, "FailureReason": self.failure}
        return {name: value for name, value in moments.items() if value is not None}

    def described(self) -> dict[str, Any]:
        return {
            **{name: value for name, value in self.request.items() if name != "Tags"},
            "TransformJobArn": self.arn,
            "TransformJobStatus": self.status,
            "CreationTime": self.created,
            **self._times(),
        }

    def summary(self) -> dict[str, Any]:
        times = {name: value for name, value in self._times().items() if name != "TransformStartTime"}
        return {
            "TransformJobName": self.name,
            "TransformJobArn": self.arn,
            "TransformJobStatus": self.status,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            **times,
        }

    def kept(self) -> dict[str, Any]:
        """As JSON, for the next start of the server."""
        return {
            "arn": self.arn,
            "request": self.request,
            "created": self.created,
            "modified": self.modified,
            "status": self.status,
            "failure": self.failure,
            "started": self.started,
            "ended": self.ended,
        }


class Transforms:
    """The transform jobs of one region. Owned by the event loop."""

    def __init__(self, catalog: Catalog, workshop: Workshop, logs: Path) -> None:
        self.jobs: dict[str, TransformJob] = {}
        self._catalog = catalog
        self._workshop = workshop
        self._logs = logs

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises AwsError for a name in use, a model that does not exist, and what is not emulated."""
        name = request["TransformJobName"]
        arn = self._catalog.arn("transform-job", name)
        if name in self.jobs:
            message = f"Job name must be unique within an AWS account and region, and {arn} exists already."
            raise AwsError("ResourceInUse", message)
        plan = transform_request.read(request)
        container = self._catalog.model(request["ModelName"]).request["PrimaryContainer"]
        job = TransformJob(arn, request, self._workshop.clock.now())
        self._catalog.set_tags(arn, request.get("Tags", []))
        self.jobs[name] = job
        work = Work(name, plan, dict(container), self._catalog.region, self._workshop, self._logs / name)
        job.work = asyncio.get_running_loop().create_task(self._run(job, work))
        return {"TransformJobArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._job(request).described()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        page = list_page(request, [job.summary() for job in self.jobs.values()], "TransformJob")
        return {"TransformJobSummaries": page.pop("TransformJobs"), **page}

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        if job.status != "InProgress" or job.work is None:
            raise ValidationException(f"The request was rejected because the transform job is in status {job.status}.")
        job.status, job.modified = "Stopping", self._workshop.clock.now()
        job.work.cancel()
        return {}

    def restore(self, kept: dict[str, Any]) -> None:
        """A job of an earlier server; one that was under way has failed by its end."""
        job = TransformJob(kept["arn"], kept["request"], kept["created"])
        for member in ("modified", "status", "failure", "started", "ended"):
            setattr(job, member, kept[member])
        if job.ended is None:
            job.end("Failed", self._workshop.clock.now(), INTERRUPTED)
        self.jobs[job.name] = job

    async def close(self) -> None:
        """Stops every job's processes at the end of the server."""
        running = [job.work for job in self.jobs.values() if job.work is not None and not job.work.done()]
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, job: TransformJob, work: Work) -> None:
        now: Callable[[], float] = self._workshop.clock.now

        def begun() -> None:
            job.started = now()

        try:
            await work.run(begun)
        except TransformError as error:
            job.end("Failed", now(), str(error))
        except asyncio.CancelledError:
            job.end("Stopped", now())
        except Exception:
            log.exception("transform job %s", job.name)
            job.end("Failed", now(), "InternalServerError: the local AWS failed at this job; see its log.")
        else:
            job.end("Completed", now())
        self._workshop.changed()

    def _job(self, request: dict[str, Any]) -> TransformJob:
        name = request["TransformJobName"]
        if name not in self.jobs:
            raise ValidationException(f"Could not find requested job with name: {name}")
        return self.jobs[name]
