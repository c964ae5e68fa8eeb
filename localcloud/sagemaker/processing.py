"""Processing jobs: what is asked for, what is told of them, and their ends; the work itself is `processing_work`'s."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from localcloud.errors import AwsError, ValidationException
from localcloud.sagemaker import processing_request
from localcloud.sagemaker.catalog import Catalog, check_role
from localcloud.sagemaker.fleet import FAILURE_REASON_LIMIT, Workshop
from localcloud.sagemaker.jobs import JobError, Machine
from localcloud.sagemaker.listing import list_page
from localcloud.sagemaker.processing_work import RanOutError, Work

log = logging.getLogger(__name__)

INTERRUPTED = "InternalServerError: the local AWS ended while the job ran. Start the job again."
ENDED = ("Completed", "Failed", "Stopped")


class ProcessingJob:
    """One job: its request, and how far it is. Times are on the clock; `modified` is of the last change of status."""

    def __init__(self, arn: str, request: dict[str, Any], created: float) -> None:
        self.name: str = request["ProcessingJobName"]
        self.arn = arn
        self.request = request
        self.created = self.modified = created
        self.status = "InProgress"
        self.failure: str | None = None
        self.message: str | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.running: asyncio.Task[None] | None = None

    def end(self, status: str, moment: float, failure: str | None = None) -> None:
        self.status, self.ended, self.modified = status, moment, moment
        self.failure = failure[:FAILURE_REASON_LIMIT] if failure else None

    def _told(self) -> dict[str, Any]:
        found = {"ProcessingEndTime": self.ended, "FailureReason": self.failure, "ExitMessage": self.message}
        return {name: value for name, value in found.items() if value is not None} | {
            "ProcessingJobArn": self.arn,
            "ProcessingJobStatus": self.status,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
        }

    def described(self) -> dict[str, Any]:
        started = {"ProcessingStartTime": self.started} if self.started is not None else {}
        return {**{name: value for name, value in self.request.items() if name != "Tags"}, **started, **self._told()}

    def summary(self) -> dict[str, Any]:
        return {"ProcessingJobName": self.name, **self._told()}

    def kept(self) -> dict[str, Any]:
        """As JSON, for the next start of the server."""
        return {
            "arn": self.arn,
            "request": self.request,
            "created": self.created,
            "modified": self.modified,
            "status": self.status,
            "failure": self.failure,
            "message": self.message,
            "started": self.started,
            "ended": self.ended,
        }


class ProcessingJobs:
    """The processing jobs of one region. Owned by the event loop."""

    def __init__(self, catalog: Catalog, workshop: Workshop, machine: Machine) -> None:
        self.jobs: dict[str, ProcessingJob] = {}
        self._catalog = catalog
        self._workshop = workshop
        self._machine = machine

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises AwsError for a name in use, an unusable role, and what is not emulated."""
        name = request["ProcessingJobName"]
        arn = self._catalog.arn("processing-job", name)
        if name in self.jobs:
            message = f"Job name must be unique within an AWS account and region, and {arn} exists already."
            raise AwsError("ResourceInUse", message)
        plan = processing_request.read(request)
        check_role(request["RoleArn"])
        job = ProcessingJob(arn, request, self._workshop.clock.now())
        self._catalog.set_tags(arn, request.get("Tags", []))
        self.jobs[name] = job
        stream = f"{name}/algo-1-{int(time.time())}"
        work = Work(request, plan, self._catalog.region, self._machine, stream)
        job.running = asyncio.get_running_loop().create_task(self._run(job, work))
        return {"ProcessingJobArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._job(request).described()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        page = list_page(request, [job.summary() for job in self.jobs.values()], "ProcessingJob")
        return {"ProcessingJobSummaries": page.pop("ProcessingJobs"), **page}

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        if job.status != "InProgress" or job.running is None:
            raise ValidationException(f"The request was rejected because the processing job is in status {job.status}.")
        job.status, job.modified = "Stopping", self._workshop.clock.now()
        job.running.cancel()
        return {}

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        if job.status not in ENDED:
            raise ValidationException(f"The request was rejected because the processing job is in status {job.status}.")
        del self.jobs[job.name]
        self._catalog.tags.pop(job.arn, None)
        return {}

    def restore(self, kept: dict[str, Any]) -> None:
        """A job of an earlier server; one that was under way has failed by its end."""
        job = ProcessingJob(kept["arn"], kept["request"], kept["created"])
        for member in ("modified", "status", "failure", "message", "started", "ended"):
            setattr(job, member, kept[member])
        if job.ended is None:
            job.end("Failed", self._workshop.clock.now(), INTERRUPTED)
        self.jobs[job.name] = job

    async def close(self) -> None:
        """Stops every job's processes at the end of the server."""
        running = [job.running for job in self.jobs.values() if job.running is not None and not job.running.done()]
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, job: ProcessingJob, work: Work) -> None:
        now = self._workshop.clock.now

        def begun() -> None:
            job.started = now()
            self._workshop.changed()

        status, failure = "Completed", None
        try:
            await work.run(begun)
        except JobError as error:
            status, failure = "Failed", str(error)
        except RanOutError:
            status, failure = "Stopped", "ClientError: The job ran longer than its MaxRuntimeInSeconds"
        except asyncio.CancelledError:
            status = "Stopped"
        except Exception:
            log.exception("processing job %s", job.name)
            status, failure = "Failed", "InternalServerError: the local AWS failed at this job; see its log."
        job.message = work.message
        job.end(status, now(), failure)
        self._workshop.changed()

    def _job(self, request: dict[str, Any]) -> ProcessingJob:
        name = request["ProcessingJobName"]
        if name not in self.jobs:
            raise AwsError("ResourceNotFound", f"Could not find requested job with name: {name}")
        return self.jobs[name]
