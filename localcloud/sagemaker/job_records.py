"""The jobs of one kind in one region: what SageMaker tells of them, from the request to the end, past the server's own.

Apart because processing and transform jobs differ only in their requests and in the work that is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from localcloud.errors import AwsError, ValidationException
from localcloud.sagemaker.catalog import Catalog
from localcloud.sagemaker.fleet import FAILURE_REASON_LIMIT, Workshop
from localcloud.sagemaker.jobs import JobError, RanOutError
from localcloud.sagemaker.listing import list_page

log = logging.getLogger(__name__)

INTERRUPTED = "InternalServerError: the local AWS ended while the job ran. Start the job again."
ENDED = ("Completed", "Failed", "Stopped")
_KEPT = ("arn", "request", "created", "modified", "status", "failure", "message", "started", "ended")


class Work(Protocol):
    """What a job does. It runs once; cancelled, it ends its processes and is gone."""

    message: str | None
    """What the program left to be told, if its kind of job tells that."""

    async def run(self, begun: Callable[[], None]) -> None:
        """Calls `begun` when the instances are up. Raises JobError, and RanOutError past the longest time."""


class Job:
    """One job: its request, and how far it is. Times are on the clock; `modified` is of the last change of status."""

    def __init__(self, kind: str, arn: str, request: dict[str, Any], created: float) -> None:
        self.kind = kind
        self.name: str = request[f"{kind}JobName"]
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
        long = failure is not None and len(failure) > FAILURE_REASON_LIMIT
        self.failure = f"{failure[: FAILURE_REASON_LIMIT - 1]}…" if failure and long else failure

    def summary(self) -> dict[str, Any]:
        """As the list has it."""
        return {
            f"{self.kind}JobName": self.name,
            f"{self.kind}JobArn": self.arn,
            f"{self.kind}JobStatus": self.status,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            **_present({f"{self.kind}EndTime": self.ended, "FailureReason": self.failure, "ExitMessage": self.message}),
        }

    def described(self) -> dict[str, Any]:
        asked = {name: value for name, value in self.request.items() if name != "Tags"}
        return {**asked, **_present({f"{self.kind}StartTime": self.started}), **self.summary()}

    def kept(self) -> dict[str, Any]:
        """As JSON, for the next start of the server."""
        return {name: getattr(self, name) for name in _KEPT}


class Jobs:
    """Owned by the event loop. A kind of job derives from it and says what is particular to it."""

    KIND: ClassVar[str]
    """As in the API's names: `Processing`, `Transform`."""
    MISSING: ClassVar[str]
    """The code of the error for a job that is not there: SageMaker has one for each kind."""

    def __init__(self, catalog: Catalog, workshop: Workshop) -> None:
        self.jobs: dict[str, Job] = {}
        self._catalog = catalog
        self._workshop = workshop

    def work(self, request: dict[str, Any]) -> Work:
        """The work that a request asks for. Raises AwsError for what cannot be done."""
        raise NotImplementedError

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises AwsError for a name in use, and for what cannot be done."""
        name = request[f"{self.KIND}JobName"]
        arn = self._catalog.arn(f"{self.KIND.lower()}-job", name)
        if name in self.jobs:
            message = f"Job name must be unique within an AWS account and region, and {arn} exists already."
            raise AwsError("ResourceInUse", message)
        work = self.work(request)
        job = Job(self.KIND, arn, request, self._workshop.clock.now())
        self._catalog.set_tags(arn, request.get("Tags", []))
        self.jobs[name] = job
        job.running = asyncio.get_running_loop().create_task(self._run(job, work))
        return {f"{self.KIND}JobArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._job(request).described()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        page = list_page(request, [job.summary() for job in self.jobs.values()], f"{self.KIND}Job")
        return {f"{self.KIND}JobSummaries": page.pop(f"{self.KIND}Jobs"), **page}

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        if job.status != "InProgress" or job.running is None:
            raise self._refused(job)
        job.status, job.modified = "Stopping", self._workshop.clock.now()
        job.running.cancel()
        return {}

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        if job.status not in ENDED:
            raise self._refused(job)
        del self.jobs[job.name]
        self._catalog.tags.pop(job.arn, None)
        return {}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """A job of an earlier server; one that was under way has failed by its end."""
        job = Job(self.KIND, kept["arn"], kept["request"], kept["created"])
        for member in _KEPT:
            setattr(job, member, kept.get(member))
        if job.ended is None:
            job.end("Failed", self._workshop.clock.now(), INTERRUPTED)
        self.jobs[job.name] = job

    async def close(self) -> None:
        """Stops every job's processes at the end of the server."""
        running = [job.running for job in self.jobs.values() if job.running is not None and not job.running.done()]
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, job: Job, work: Work) -> None:
        now = self._workshop.clock.now

        def begun() -> None:
            job.started = now()
            self._workshop.changed()

        status, failure = "Completed", None
        try:
            await work.run(begun)
        except RanOutError:
            status, failure = "Stopped", "ClientError: The job ran longer than its MaxRuntimeInSeconds"
        except JobError as error:
            status, failure = "Failed", str(error)
        except asyncio.CancelledError:
            status = "Stopped"
        except Exception:
            log.exception("%s job %s", self.KIND.lower(), job.name)
            status, failure = "Failed", "InternalServerError: the local AWS failed at this job; see its log."
        job.message = work.message
        job.end(status, now(), failure)
        self._workshop.changed()

    def _job(self, request: dict[str, Any]) -> Job:
        name = request[f"{self.KIND}JobName"]
        if name not in self.jobs:
            raise AwsError(self.MISSING, f"Could not find requested job with name: {name}")
        return self.jobs[name]

    def _refused(self, job: Job) -> ValidationException:
        message = f"The request was rejected because the {self.KIND.lower()} job is in status {job.status}."
        return ValidationException(message)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
