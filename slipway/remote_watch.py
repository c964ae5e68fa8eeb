"""A processing job, watched to its end: its status, and its lines in CloudWatch Logs as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from infra.bootstrap.permissions import BUILD_LOGS

ENDED = ("Completed", "Failed", "Stopped")
FASTEST, SLOWEST = 1.0, 10.0
"""Seconds between two looks: longer and longer, while there is nothing new."""
LAST_LINES_SECONDS = 10.0
"""How long lines may take to arrive in Logs after the job's end."""


@dataclass
class LogReader:
    """Reads the streams of one job, each line once."""

    logs: Any
    job: str
    _tokens: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """What came since the last call."""
        for stream in self._streams():
            yield from self._new(stream)

    def _streams(self) -> Iterator[str]:
        pages = self.logs.get_paginator("describe_log_streams")
        try:
            for page in pages.paginate(logGroupName=BUILD_LOGS, logStreamNamePrefix=f"{self.job}/"):
                yield from (stream["logStreamName"] for stream in page["logStreams"])
        except self.logs.exceptions.ResourceNotFoundException:  # the account's first job has yet to make the group
            return

    def _new(self, stream: str) -> Iterator[str]:
        while True:
            known = self._tokens.get(stream)
            more = {"nextToken": known} if known else {}
            page = self.logs.get_log_events(logGroupName=BUILD_LOGS, logStreamName=stream, startFromHead=True, **more)
            yield from (event["message"] for event in page["events"])
            # The token stays the same at the end of what there is; a page before it may be empty.
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == known:
                return


def follow(
    sagemaker: Any,
    logs: Any,
    job: str,
    told: Callable[[str], None],
    stage: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Tells every line and what becomes of the job; gives its last description."""
    reader = LogReader(logs, job)
    pause = FASTEST
    before = ""
    while True:
        description: dict[str, Any] = sagemaker.describe_processing_job(ProcessingJobName=job)
        if _tell(reader, told):
            pause = FASTEST
        said = _stage(description)
        if said != before:
            before, pause = said, FASTEST
            stage(said)
        if description["ProcessingJobStatus"] in ENDED:
            break
        sleep(pause)
        pause = min(SLOWEST, pause * 1.5)
    waited = 0.0
    quiet = 0
    # Twice nothing new: Logs has all of it.
    while quiet < 2 and waited < LAST_LINES_SECONDS:
        sleep(FASTEST)
        waited += FASTEST
        quiet = 0 if _tell(reader, told) else quiet + 1
    return description


def _stage(description: dict[str, Any]) -> str:
    status: str = description["ProcessingJobStatus"]
    if status == "InProgress":
        return "running" if "ProcessingStartTime" in description else "waiting for its instance"
    return status.lower()


def _tell(reader: LogReader, told: Callable[[str], None]) -> bool:
    new = False
    for line in reader.lines():
        new = True
        told(line)
    return new
