"""One transform job at work: replicas of its model, its files one request after the other, an output for each file.

As on AWS, a file with a bad record has no output and fails the job, while other files' outputs stay
(https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html). Here the reason also says which and why.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from localcloud import emulation
from localcloud.sagemaker import transform_data
from localcloud.sagemaker.artifacts import ArtifactError
from localcloud.sagemaker.catalog import split_s3_uri
from localcloud.sagemaker.fleet import DEFAULT_STARTUP_SECONDS, Workshop
from localcloud.sagemaker.jobs import JobError
from localcloud.sagemaker.replica import Replica, StartupError
from localcloud.sagemaker.transform_data import Batch, DataError
from localcloud.sagemaker.transform_filters import RecordError
from localcloud.sagemaker.transform_request import Plan

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TransformJobs"
_LOGGED_LINES = 1000
_STOP_SECONDS = 5.0
_SEE = "See job logs for more information"
_BACKOFF_SECONDS = 0.2

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class File:
    """An input, and the key of its output."""

    bucket: str
    key: str
    output: str

    @property
    def name(self) -> str:
        return f"{self.bucket}/{self.key}"


class Work:
    """Runs once. Cancelled, it ends its processes and is gone."""

    def __init__(
        self, name: str, plan: Plan, container: dict[str, Any], region: str, workshop: Workshop, logs: Path
    ) -> None:
        self._name = name
        self._plan = plan
        self._container = container
        self._region = region
        self._workshop = workshop
        self._logs = logs
        self._told: list[str] = []
        self.message: str | None = None

    async def run(self, begun: Callable[[], None]) -> None:
        """Calls `begun` when the model is up. Raises JobError."""
        replicas: list[Replica] = []
        began = int(time.time() * 1000)
        try:
            files = await asyncio.to_thread(self._files)
            model = await asyncio.to_thread(self._workshop.artifacts.obtain, self._container)
            replicas += [self._replica(model) for _ in range(self._instances(len(files)))]
            await self._start(replicas)
            begun()
            self._tell(
                f"MaxConcurrentTransforms={self._plan.concurrency}, "
                f"MaxPayloadInMB={self._plan.payload // transform_data.MEGABYTE}, BatchStrategy={self._plan.strategy}"
            )
            await self._transform(files, replicas)
        except ArtifactError as error:
            raise JobError(f"ClientError: {error}") from None
        finally:
            await asyncio.gather(*(replica.stop(_STOP_SECONDS) for replica in replicas))
            self._write_logs(replicas, began)

    def _files(self) -> list[File]:
        """Raises JobError where there are none, or two would have one output."""
        plan, source = self._plan, self._plan.source
        try:
            if source.by_manifest:
                manifest = io.BytesIO()
                emulation.read_object(source.bucket, source.key, manifest)
                prefix, names = transform_data.manifest(manifest.getvalue())
                addresses = [split_s3_uri(f"{prefix}{name}") for name in names]
                base = prefix.removeprefix("s3://").partition("/")[2]
            else:
                keys = emulation.list_objects(source.bucket, source.key)
                addresses = [(source.bucket, key) for key in keys if not key.endswith("/")]
                base = transform_data.base_of(source.key)
        except emulation.ObjectMissingError:
            addresses, base = [], ""
        except DataError as error:
            raise JobError(f"ClientError: {source.uri}: {error}.") from None
        if not addresses:
            raise JobError(
                f'ClientError: No S3 objects found under S3 URL "{source.uri}" given in input data source. Please '
                "ensure that the bucket exists, and that objects exist under that S3 prefix."
            )
        return [File(bucket, key, transform_data.output_key(plan.folder, base, key)) for bucket, key in addresses]

    def _instances(self, files: int) -> int:
        """Instances are processes of one machine here: no more than it has cores, or there are files for."""
        return max(1, min(self._plan.instances, os.cpu_count() or 1, files))

    def _replica(self, model: Path) -> Replica:
        environment = {**self._container.get("Environment", {}), **self._plan.environment}
        return Replica(self._workshop.program, model, environment, self._logs, "transform")

    async def _start(self, replicas: Sequence[Replica]) -> None:
        async def start(replica: Replica) -> None:
            async with self._workshop.starts:
                limit = min(DEFAULT_STARTUP_SECONDS, self._workshop.start_limit)
                await replica.start(self._workshop.session, limit)

        try:
            async with asyncio.TaskGroup() as group:
                for replica in replicas:
                    group.create_task(start(replica))
        except* StartupError as errors:
            reason = errors.exceptions[0]
            raise JobError(f"AlgorithmError: the model did not pass its health check: {reason}. {_SEE}") from None

    async def _transform(self, files: Sequence[File], replicas: Sequence[Replica]) -> None:
        """Each replica has the files of its turn, as AWS maps objects to instances by key."""
        free = [asyncio.Semaphore(self._plan.concurrency) for _ in replicas]
        open_files = [asyncio.Semaphore(self._plan.concurrency) for _ in replicas]

        async def one(number: int, file: File) -> JobError | None:
            turn = number % len(replicas)
            async with open_files[turn]:
                try:
                    await self._one_file(file, replicas[turn], free[turn])
                except JobError as error:
                    self._tell(f"{file.name}: {error}")
                    return error
            return None

        ended = await _all(one(number, file) for number, file in enumerate(files))
        failures = [error for error in ended if error is not None]
        if failures:
            more = f" {len(failures) - 1} more of {len(files)} files failed." if len(failures) > 1 else ""
            raise JobError(f"{failures[0]}.{more} {_SEE}")

    async def _one_file(self, file: File, replica: Replica, free: asyncio.Semaphore) -> None:
        plan = self._plan
        where = f"s3://{file.name}"
        try:
            originals, sent = await asyncio.to_thread(self._records, file)
            batches = list(transform_data.batches(sent, plan.together, plan.payload))
        except emulation.ObjectMissingError:
            raise JobError(f"ClientError: {where}: there is no such object") from None
        except (DataError, RecordError) as error:
            raise JobError(f"ClientError: {where}: {error}") from None

        async def one(batch: Batch) -> bytes:
            async with free:
                try:
                    answer = await self._ask(replica, transform_data.payload(batch.records))
                    given = originals[batch.first - 1 : batch.first - 1 + len(batch.records)]
                    return plan.processing.kept(given, answer)
                except RecordError as error:
                    raise JobError(f"ClientError: {where}, {batch.where}: {error}") from None
                except JobError as error:
                    kind, _, said = str(error).partition(": ")
                    raise JobError(f"{kind}: {where}, {batch.where}: {said}") from None

        answers = await _each(one, batches, plan.concurrency)
        content = transform_data.assembled(answers, plan.assemble_lines)
        kind = plan.headers.get("accept", "application/octet-stream")
        if not await asyncio.to_thread(emulation.write_object, plan.bucket, file.output, content, kind):
            raise JobError(f"ClientError: s3://{plan.bucket}/{file.output} cannot be written")

    def _records(self, file: File) -> tuple[list[bytes], list[bytes]]:
        """The records of a file, and what the model gets of each."""
        target = io.BytesIO()
        emulation.read_object(file.bucket, file.key, target)
        content = transform_data.decompressed(target.getvalue()) if self._plan.gzipped else target.getvalue()
        originals = transform_data.records(content, self._plan.by_line)
        sent = []
        for number, record in enumerate(originals, start=1):
            try:
                sent.append(self._plan.processing.sent(record))
            except RecordError as error:
                raise RecordError(f"record {number}: {error}") from None
        return originals, sent

    async def _ask(self, replica: Replica, payload: bytes) -> bytes:
        """The model's answer, asked again where it fails by itself. Raises JobError."""
        failure = ""
        for attempt in range(self._plan.retries + 1):
            if attempt:
                await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt)
            try:
                async with self._workshop.session.post(
                    f"{replica.address}/invocations",
                    data=payload,
                    headers=self._plan.headers,
                    skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
                    timeout=aiohttp.ClientTimeout(total=self._plan.timeout),
                ) as response:
                    answer = await response.read()
                    status = response.status
            except TimeoutError:
                failure = f"the model did not answer within {self._plan.timeout:g} seconds"
                continue
            except aiohttp.ClientError as error:
                failure = f"the model could not be asked: {error or type(error).__name__}; {replica.last_line()}"
                continue
            if 200 <= status < 300:
                return answer
            failure = f"the model answered {status}: {answer.decode(errors='replace').strip()}"
            if 400 <= status < 500 and status != 429:
                raise JobError(f"ClientError: {failure}")
        tries = f", {self._plan.retries + 1} times" if self._plan.retries else ""
        raise JobError(f"AlgorithmError: {failure}{tries}")

    def _tell(self, line: str) -> None:
        self._told.append(f"[sagemaker logs]: {line}")

    def _write_logs(self, replicas: Sequence[Replica], began: int) -> None:
        """The streams that AWS writes: each instance's own output, and what it was like to feed it."""
        for number, replica in enumerate(replicas):
            stream = f"{self._name}/{replica.id}-{began}"
            lines = replica.log.read_text("utf-8", "replace").splitlines() if replica.log.is_file() else []
            emulation.write_log(self._region, LOG_GROUP, stream, lines[-_LOGGED_LINES:])
            if number == 0:  # the data of all instances is sent from here
                emulation.write_log(self._region, LOG_GROUP, f"{stream}/data-log", self._told[-_LOGGED_LINES:])


async def _each(work: Callable[[Item], Awaitable[Result]], items: Iterable[Item], at_once: int) -> list[Result]:
    """`work` on every item, so many at once; the results in order. The first failure ends the rest, and is raised."""
    waiting = enumerate(items)
    results: dict[int, Result] = {}

    async def worker() -> None:
        for number, item in waiting:
            results[number] = await work(item)

    await _all(worker() for _ in range(at_once))
    return [results[number] for number in range(len(results))]


async def _all(works: Iterable[Awaitable[Result]]) -> list[Result]:
    """The results in order. The first failure ends the others, and is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
