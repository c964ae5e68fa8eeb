"""A transform job from its start to its end, as a person follows it: progress, ^C, and why it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from infra.policies import BATCH_LOGS
from model_build.errors import UserError

LAST_LINES = 10
"""Of each log stream of a job that failed."""
STOP_SECONDS = 600.0
"""How long to wait for a job that was told to stop; it stops without us too."""
ENDED = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class State:
    """How far a job is."""

    status: str
    done: int
    files: int
    megabytes: float
    """Of the outputs that are there."""

    def __str__(self) -> str:
        return f"{self.status}: {self.done} of {self.files} files, {self.megabytes:.2f} MB of outputs"


@dataclass(frozen=True)
class Cloud:
    """The clients that a job is followed by, and how often (seconds) each asks."""

    control: Any
    logs: Any
    every: float = 5.0


@contextmanager
def answered(what: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        yield
    except ClientError as error:
        said = error.response["Error"].get("Message", str(error))
        denied = error.response["Error"].get("Code", "").startswith("AccessDenied")
        step = "docs/batch.md shows the policy of who starts jobs" if denied else "mend what it names, and try again"
        raise UserError(f"{what}: {said}", step) from None
    except ParamValidationError as error:
        raise UserError(f"{what}: {error}", "look at the options: slipway batch --help") from None
    except BotoCoreError as error:
        raise UserError(f"{what}: {error}", "are the cloud and its credentials reachable?") from None


def start(cloud: Cloud, request: Mapping[str, Any]) -> None:
    """Raises UserError."""
    with answered(request["TransformJobName"]):
        cloud.control.create_transform_job(**request)


def follow(
    cloud: Cloud, name: str, files: int, written: Callable[[], Mapping[str, int]], show: Callable[[State], None]
) -> dict[str, Any]:
    """Waits for the job's end, and gives its description. Raises UserError where it cannot be asked."""
    while True:
        found = described(cloud, name)
        outputs = written()
        show(State(found["TransformJobStatus"], len(outputs), files, sum(outputs.values()) / 1e6))
        if found["TransformJobStatus"] in ENDED:
            return found
        time.sleep(cloud.every)


def described(cloud: Cloud, name: str) -> dict[str, Any]:
    with answered(name):
        found: dict[str, Any] = cloud.control.describe_transform_job(TransformJobName=name)
    return found


def stop(cloud: Cloud, name: str) -> str:
    """Stops a job, where it still runs; gives the status that it came to. Raises UserError."""
    from botocore.exceptions import ClientError

    try:
        cloud.control.stop_transform_job(TransformJobName=name)
    except ClientError as error:
        if described(cloud, name)["TransformJobStatus"] not in (*ENDED, "Stopping"):
            raise UserError(
                f"{name} could not be stopped: {error.response['Error'].get('Message', error)}",
                f"try again: aws sagemaker stop-transform-job --transform-job-name {name}",
            ) from None
    end = time.monotonic() + STOP_SECONDS
    while (status := str(described(cloud, name)["TransformJobStatus"])) not in ENDED and time.monotonic() < end:
        time.sleep(cloud.every)
    return status


def failure(cloud: Cloud, model: str, found: Mapping[str, Any]) -> UserError:
    """Why a job failed: AWS's reason, the last lines of its logs, and the next step."""
    name = found["TransformJobName"]
    reason = str(found.get("FailureReason", "AWS gives no reason")).rstrip(".")
    lines = last_lines(cloud, name)
    told = "".join(f"\n  {line}" for line in lines)
    return UserError(f"{name} failed: {reason}{told}", _next(model, f"{reason} {' '.join(lines)}"))


def _next(model: str, text: str) -> str:
    if "content type" in text or "(415)" in text or "answered 415" in text:
        return "give --content-type with one of those that it names; JSON Lines need a server of this version"
    if "AccessDenied" in text or "ListBucket" in text or "not authorized" in text:
        return "are the addresses right, and are they in deploy.batch of the deployed spec? docs/batch.md"
    if text.startswith("ClientError"):
        return "mend the record, and run it again; files without a mistake have their outputs"
    return f"does the model work? slipway diagnose {model}; slipway invoke {model}"


def last_lines(cloud: Cloud, name: str) -> list[str]:
    """Of what the job's instances and its feeding wrote; none where nothing is, or may not be read."""
    from botocore.exceptions import BotoCoreError, ClientError

    lines: list[str] = []
    try:
        streams = cloud.logs.describe_log_streams(logGroupName=BATCH_LOGS, logStreamNamePrefix=f"{name}/")
        for stream in _fed_last([one["logStreamName"] for one in streams["logStreams"]]):
            events = cloud.logs.get_log_events(
                logGroupName=BATCH_LOGS, logStreamName=stream, limit=LAST_LINES, startFromHead=False
            )["events"]
            lines += [event["message"].strip() for event in events]
    except (ClientError, BotoCoreError):
        return lines
    return lines


def _fed_last(streams: Sequence[str]) -> list[str]:
    """Two streams: what an instance wrote, then what says which data it failed at."""
    fed = [stream for stream in streams if stream.endswith("/data-log")]
    return [stream for stream in streams if stream not in fed][:1] + fed[:1]


def seconds(found: Mapping[str, Any]) -> float:
    """That the instances of an ended job are paid for."""
    begun, ended = found.get("TransformStartTime"), found.get("TransformEndTime")
    return 0.0 if begun is None or ended is None else (ended - begun).total_seconds()


def cost(found: Mapping[str, Any], region: str) -> str:
    """What is known of the price: the table has instances of endpoints alone, which may cost otherwise."""
    from infra.prices import TableError, committed

    resources = found["TransformResources"]
    try:
        hourly = committed().region(region).of("instances", resources["InstanceType"])
    except TableError:
        hourly = None
    if hourly is None:
        return "cost unknown"
    hosted = hourly * seconds(found) / 3600 * resources["InstanceCount"]
    return f"cost unknown: the price table has endpoints alone, of which so much time would be {hosted:.4f} USD"
