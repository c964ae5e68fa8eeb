"""What one processing job does: inputs out of S3, the command as a process, its lines into Logs, outputs into S3."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud.errors import ValidationException
from localcloud.sagemaker import jobs
from localcloud.sagemaker.jobs import Folder, JobError, JobLog, Machine, Process, RanOutError
from localcloud.sagemaker.processing_request import Input, Plan

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
MESSAGE = "/opt/ml/output/message"
MESSAGE_LIMIT = 1024  # bytes that AWS tells of it
UPLOAD_SECONDS = 2.0
"""Between two looks at outputs that are uploaded continuously."""


class Work:
    """`message` is what the program left to be told, once it has ended in any way."""

    def __init__(self, request: dict[str, Any], plan: Plan, region: str, machine: Machine, stream: str) -> None:
        self.message: str | None = None
        self._request = request
        self._plan = plan
        self._region = region
        self._machine = machine
        self._folder = Folder((machine.directory / request["ProcessingJobName"]).resolve())
        self._log = JobLog(region, LOG_GROUP, stream)
        self._process: Process | None = None
        self._uploaded: dict[Path, tuple[int, int]] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self, begun: Callable[[], None]) -> None:
        """Returns when the job has completed. Raises JobError, and RanOutError; leaves no process and no folder."""
        try:
            await asyncio.to_thread(self._prepare)
            begun()
            try:
                async with asyncio.timeout(self._plan.seconds):
                    code = await self._execute()
            except TimeoutError:
                raise RanOutError from None
            finally:
                self.message = self._read_message()
            if code != 0:
                raise JobError(f"AlgorithmError: See job logs for more information, exit code: {code}")
            await asyncio.to_thread(self._upload, False)
        finally:
            await asyncio.to_thread(shutil.rmtree, self._folder.root, True)

    async def _execute(self) -> int:
        place = self._folder.translated
        given = {name: place(value) for name, value in self._plan.environment.items()}
        self._process = Process(
            [place(word) for word in self._plan.command],
            jobs.variables(self._machine, self._region, given),
            self._folder.root,
            self._log.feed,
        )
        uploading = asyncio.create_task(self._upload_continuously())
        try:
            return await self._process.run()
        finally:
            await self._process.stop()
            self._log.close()
            uploading.cancel()
            await asyncio.wait({uploading})
            await asyncio.to_thread(self._upload, True)

    async def _upload_continuously(self) -> None:
        while any(output.continuous for output in self._plan.outputs):
            await asyncio.sleep(UPLOAD_SECONDS)
            await asyncio.to_thread(self._upload, True)

    def _upload(self, continuous: bool) -> None:
        for output in self._plan.outputs:
            if output.continuous == continuous:
                jobs.upload_folder(self._folder.place(output.path), output.uri, self._uploaded)

    def _prepare(self) -> None:
        shutil.rmtree(self._folder.root, ignore_errors=True)  # what a server that was killed left
        for one in self._plan.inputs:
            target = self._folder.place(one.path)
            target.mkdir(parents=True, exist_ok=True)
            self._fetch(one, target)
        for output in self._plan.outputs:
            self._folder.place(output.path).mkdir(parents=True, exist_ok=True)
        self._folder.place(MESSAGE).parent.mkdir(parents=True, exist_ok=True)
        config = self._folder.place("/opt/ml/config")
        config.mkdir(parents=True, exist_ok=True)
        described = {name: value for name, value in self._request.items() if name != "Tags"}
        (config / "processingjobconfig.json").write_text(json.dumps(described))
        hosts = {"current_host": "algo-1", "hosts": ["algo-1"]}
        (config / "resourceconfig.json").write_text(json.dumps(hosts))

    def _fetch(self, one: Input, target: Path) -> None:
        try:
            if not one.manifest:
                jobs.download_prefix(one.uri, target)
                return
            manifest = target.parent / f"{target.name}-manifest"
            jobs.download_object(one.uri, manifest)
            first, *names = json.loads(manifest.read_bytes())
            jobs.download_listed(first["prefix"], names, target)
        except (ValueError, KeyError, TypeError, ValidationException) as error:
            raise JobError(f"ClientError: Data download failed: {one.uri} is no manifest ({error})") from None

    def _read_message(self) -> str | None:
        try:
            with self._folder.place(MESSAGE).open("rb") as stream:
                return stream.read(MESSAGE_LIMIT).decode(errors="ignore") or None
        except FileNotFoundError:
            return None
