"""Watching a job: each line once whatever the pages are, and patience that grows while nothing happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from slipway import remote_watch


class NoGroupError(Exception):
    pass


class Logs:
    """CloudWatch Logs with one stream, whose events come in pages of two; a page before the last may be empty."""

    class exceptions:
        ResourceNotFoundException = NoGroupError

    def __init__(self, there: bool = True) -> None:
        self.there = there
        self.events: list[str] = []
        self.asked: list[str | None] = []

    def get_paginator(self, _name: str) -> Logs:
        return self

    def paginate(self, **asked: str) -> Iterator[dict[str, Any]]:
        if not self.there:
            raise NoGroupError
        yield {"logStreams": [{"logStreamName": asked["logStreamNamePrefix"] + "algo-1-1"}] if self.events else []}

    def get_log_events(self, **asked: Any) -> dict[str, Any]:
        assert asked["startFromHead"] is True
        token = asked.get("nextToken")
        self.asked.append(token)
        start = int(token or 0)
        page = self.events[start : start + 2]
        return {"events": [{"message": line} for line in page], "nextForwardToken": str(start + len(page))}


class SageMaker:
    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)

    def describe_processing_job(self, **_asked: str) -> dict[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == "Running":
            return {"ProcessingJobStatus": "InProgress", "ProcessingStartTime": 1}
        return {"ProcessingJobStatus": status}


def test_each_line_is_told_once_over_pages_and_looks() -> None:
    logs = Logs()
    reader = remote_watch.LogReader(logs, "job")
    assert list(reader.lines()) == []
    logs.events += ["1", "2", "3", "4", "5"]
    assert list(reader.lines()) == ["1", "2", "3", "4", "5"]
    assert list(reader.lines()) == []
    logs.events += ["6"]
    assert list(reader.lines()) == ["6"]


def test_a_group_that_is_not_there_yet_has_no_lines() -> None:
    assert list(remote_watch.LogReader(Logs(there=False), "job").lines()) == []


def test_a_job_is_followed_to_its_end_and_past_it_for_its_last_lines() -> None:
    logs = Logs()
    pauses: list[float] = []
    lines: list[str] = []
    stages: list[str] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) in (1, 7):
            logs.events.append(f"line {len(pauses)}")

    job = SageMaker("InProgress", "InProgress", *["Running"] * 4, "Completed")
    told = remote_watch.follow(job, logs, "job", lines.append, stages.append, sleep=sleep)
    assert told["ProcessingJobStatus"] == "Completed"
    assert stages == ["waiting for its instance", "running", "completed"]
    assert lines == ["line 1", "line 7"], "what arrived after the end was not read"
    assert max(pauses) > 2, "it asks as often when nothing happens"


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_every_end_is_an_end(status: str) -> None:
    told = remote_watch.follow(SageMaker(status), Logs(), "job", lambda _: None, lambda _: None, sleep=lambda _: None)
    assert told["ProcessingJobStatus"] == status
