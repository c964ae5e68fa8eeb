"""InvokeEndpointAsync: a queue per endpoint, worked off by its replicas; input and output in S3, topics are told."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from localcloud import emulation
from localcloud.asgi import Request, Response, json_response
from localcloud.clock import naive
from localcloud.cloudwatch.store import Metric
from localcloud.errors import AwsError, ValidationException
from localcloud.sagemaker.catalog import split_s3_folder, split_s3_uri
from localcloud.sagemaker.endpoint import Endpoint
from localcloud.sagemaker.fleet import Fleet
from localcloud.sagemaker.invoking import ATTRIBUTES, Answer, Invoker
from localcloud.sagemaker.metrics import NAMESPACE

log = logging.getLogger(__name__)

# What an instance works on at a time where ClientConfig does not say; AWS chooses by itself.
DEFAULT_CONCURRENCY = 4
DEFAULT_TIMEOUT_SECONDS = 900
DEFAULT_TTL_SECONDS = 21_600
INPUT_LIMIT = 1024**3
_PREFIX = "x-amzn-sagemaker-"


@dataclass(frozen=True)
class Job:
    """One asynchronous request. `received` is on the clock."""

    id: str
    source: str
    output: str
    failure: str | None
    headers: Mapping[str, str]
    received: float
    ttl: float
    timeout: float


@dataclass
class Queue:
    """The requests of one endpoint that wait, oldest first, and those under way."""

    endpoint: Endpoint
    waiting: deque[Job] = field(default_factory=deque)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def size(self) -> int:
        """AWS's backlog: what waits and what is under way."""
        return len(self.waiting) + len(self.running)


class AsyncInference:
    """Every asynchronous endpoint's queue."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker
        self._queues: dict[str, Queue] = {}

    def accept(self, endpoint: Endpoint, request: Request) -> Response:
        """InvokeEndpointAsync's answer; the work is done later."""
        if not endpoint.asynchronous:
            raise AwsError(
                "ValidationError", f"Endpoint {endpoint.name} is not an asynchronous one: use InvokeEndpoint."
            )
        source = request.header(f"{_PREFIX}inputlocation")
        if not source:
            raise AwsError(
                "ValidationError", "The local AWS takes the input of InvokeEndpointAsync from InputLocation."
            )
        try:
            split_s3_uri(source)
        except ValidationException as error:
            raise AwsError("ValidationError", error.message) from None
        key = str(uuid.uuid4())
        config = endpoint.config.request["AsyncInferenceConfig"]["OutputConfig"]
        job = Job(
            request.header(f"{_PREFIX}inference-id") or str(uuid.uuid4()),
            source,
            _location(config["S3OutputPath"], f"{key}.out"),
            _location(config["S3FailurePath"], f"{key}-error.out") if "S3FailurePath" in config else None,
            _headers(request),
            endpoint.clock.now(),
            _seconds(request, "requestttlseconds", 60, DEFAULT_TTL_SECONDS, DEFAULT_TTL_SECONDS),
            _seconds(request, "invocationtimeoutseconds", 1, 3600, DEFAULT_TIMEOUT_SECONDS),
        )
        queue = self._queues.get(endpoint.arn)
        if queue is None or queue.endpoint is not endpoint:
            queue = self._queues[endpoint.arn] = Queue(endpoint)
        queue.waiting.append(job)
        self._pump(queue)
        named = {f"{_PREFIX}outputlocation": job.output}
        if job.failure:
            named[f"{_PREFIX}failurelocation"] = job.failure
        return json_response(202, {"InferenceId": job.id}, named)

    def tick(self, moment: float) -> None:
        """To be called every ten seconds of the clock: replicas that came take work, the backlog is measured."""
        for arn, queue in list(self._queues.items()):
            if queue.endpoint.status == "Deleting" and not queue.running:
                del self._queues[arn]
                continue
            self._pump(queue)
            if moment % 60 == 0:
                self._measure(queue, moment)

    def backlog(self, endpoint: Endpoint) -> int:
        queue = self._queues.get(endpoint.arn)
        return queue.size if queue else 0

    def _measure(self, queue: Queue, moment: float) -> None:
        endpoint = queue.endpoint
        store = endpoint.watch.store(endpoint.region)
        instances = sum(len(fleet.healthy) for fleet in endpoint.fleets.values())
        waiting = queue.size
        oldest = moment - queue.waiting[0].received if queue.waiting else 0.0
        for name, value, unit in (
            ("ApproximateBacklogSize", float(waiting), "Count"),
            ("ApproximateBacklogSizePerInstance", waiting / max(1, instances), "Count"),
            ("HasBacklogWithoutCapacity", float(waiting > 0 and instances == 0), "Count"),
            ("ApproximateAgeOfOldestRequest", max(0.0, oldest), "Seconds"),
        ):
            store.put(Metric.of(NAMESPACE, name, {"EndpointName": endpoint.name}), moment - 60, value, unit=unit)

    def _pump(self, queue: Queue) -> None:
        """Starts as much of the queue as the replicas take."""
        client = queue.endpoint.config.request["AsyncInferenceConfig"].get("ClientConfig", {})
        each = client.get("MaxConcurrentInvocationsPerInstance", DEFAULT_CONCURRENCY)
        while queue.waiting:
            fleet = queue.endpoint.choose_fleet()
            if fleet is None or len(queue.running) >= each * len(fleet.healthy):
                return
            job = queue.waiting.popleft()
            task = asyncio.get_running_loop().create_task(self._work(queue, fleet, job))
            queue.running.add(task)

            def done(finished: asyncio.Task[None]) -> None:
                queue.running.discard(finished)
                if not finished.cancelled() and finished.exception() is not None:
                    log.error("an asynchronous request failed", exc_info=finished.exception())
                self._pump(queue)

            task.add_done_callback(done)

    async def _work(self, queue: Queue, fleet: Fleet, job: Job) -> None:
        endpoint = queue.endpoint
        began = endpoint.clock.now()
        if began - job.received > job.ttl:
            await self._fail(endpoint, fleet, job, "The request was not processed within its RequestTTLSeconds.")
            return
        try:
            body = await asyncio.to_thread(_read, job.source)
        except emulation.ObjectMissingError:
            await self._fail(
                endpoint, fleet, job, f"Failed to download the input from {job.source}: there is no such object."
            )
            return
        try:
            answer = await self._invoker.ask(endpoint, fleet, body, job.headers, time.perf_counter(), job.timeout)
        except AwsError as error:
            # The replica went away: another one takes it.
            log.info("an asynchronous request of %s waits again: %s", endpoint.name, error)
            queue.waiting.appendleft(job)
            await asyncio.sleep(0.2)
            return
        if not answer.good:
            said = answer.body.decode(errors="replace")
            await self._fail(endpoint, fleet, job, f'Received error ({answer.status}) from model with message "{said}"')
            return
        await self._succeed(endpoint, fleet, job, answer, began)

    async def _succeed(self, endpoint: Endpoint, fleet: Fleet, job: Job, answer: Answer, began: float) -> None:
        bucket, key = split_s3_uri(job.output)
        written = await asyncio.to_thread(emulation.write_object, bucket, key, answer.body, answer.content_type)
        if not written:
            await self._fail(
                endpoint, fleet, job, f"Failed to write the output to {job.output}: there is no such bucket."
            )
            return
        response: dict[str, Any] = {"contentType": answer.content_type, "outputLocation": job.output}
        self._finish(endpoint, fleet, job, "InvocationsProcessed", began)
        included = _notification(endpoint).get("IncludeInferenceResponseIn", [])
        if "SUCCESS_NOTIFICATION_TOPIC" in included and len(answer.body) <= 128 * 1024:
            response["body"] = {"content": answer.body.decode(errors="replace"), "encoding": "UTF8"}
        self._notify(endpoint, "SuccessTopic", job, {"invocationStatus": "Completed", "responseParameters": response})

    async def _fail(self, endpoint: Endpoint, fleet: Fleet, job: Job, reason: str) -> None:
        self._finish(endpoint, fleet, job, "InvocationFailures", endpoint.clock.now())
        if job.failure is not None:
            bucket, key = split_s3_uri(job.failure)
            await asyncio.to_thread(emulation.write_object, bucket, key, reason.encode(), "text/plain")
        self._notify(endpoint, "ErrorTopic", job, {"invocationStatus": "Failed", "failureReason": reason})

    def _finish(self, endpoint: Endpoint, fleet: Fleet, job: Job, counted: str, began: float) -> None:
        now = endpoint.clock.now()
        store = endpoint.watch.store(endpoint.region)
        of = {"EndpointName": endpoint.name, "VariantName": fleet.variant.name}
        for name, value, unit in (
            (counted, 1.0, "Count"),
            ("TimeInBacklog", (began - job.received) * 1000, "Milliseconds"),
            ("TotalProcessingTime", (now - job.received) * 1000, "Milliseconds"),
        ):
            store.put(Metric.of(NAMESPACE, name, of), now, value, unit=unit)

    def _notify(self, endpoint: Endpoint, topic: str, job: Job, outcome: Mapping[str, Any]) -> None:
        arn = _notification(endpoint).get(topic)
        if arn is None:
            return
        now = naive(endpoint.clock.now()).isoformat(timespec="milliseconds") + "Z"
        message = {
            "awsRegion": endpoint.region,
            "eventTime": now,
            "receivedTime": naive(job.received).isoformat(timespec="milliseconds") + "Z",
            **outcome,
            "requestParameters": {
                "accept": job.headers.get("accept"),
                "contentType": job.headers.get("content-type"),
                "customAttributes": job.headers.get(ATTRIBUTES),
                "endpointName": endpoint.name,
                "inputLocation": job.source,
            },
            "inferenceId": job.id,
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
        }
        emulation.publish(endpoint.region, arn, f"{endpoint.name}: {outcome['invocationStatus']}", json.dumps(message))


def _notification(endpoint: Endpoint) -> Mapping[str, Any]:
    config: Mapping[str, Any] = endpoint.config.request["AsyncInferenceConfig"]["OutputConfig"]
    found: Mapping[str, Any] = config.get("NotificationConfig", {})
    return found


def _headers(request: Request) -> dict[str, str]:
    names = {
        "content-type": f"{_PREFIX}content-type",
        "accept": f"{_PREFIX}accept",
        ATTRIBUTES: ATTRIBUTES,
        f"{_PREFIX}inference-id": f"{_PREFIX}inference-id",
    }
    return {name: request.headers[source] for name, source in names.items() if source in request.headers}


def _seconds(request: Request, name: str, least: int, most: int, default: int) -> float:
    text = request.header(f"{_PREFIX}{name}", str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise AwsError("ValidationError", f"{name} must be {least} to {most} seconds, not {text}.")
    return float(text)


def _location(folder: str, name: str) -> str:
    bucket, prefix = split_s3_folder(folder)
    return f"s3://{bucket}/{prefix}{name}"


def _read(source: str) -> bytes:
    bucket, key = split_s3_uri(source)
    target = BytesIO()
    emulation.read_object(bucket, key, target)
    return target.getvalue()
