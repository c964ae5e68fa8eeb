"""A live endpoint, measured as a client sees it: answers that are right, and how long they take, one at a time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.gates import FIELDS
from model_build.gates import check as check_gates
from model_build.manifest import GateResult, Measurement
from model_build.measure import percentiles
from model_build.metrics import METRICS, metric_of
from model_build.paired import Estimate, estimate
from slipway.invoke import predict
from slipway.requests import answer_of_one, encode, named

if TYPE_CHECKING:
    from model_build.spec import Gates, Spec

ROUND = 30
"""Requests whose percentiles make one round, of which limits on time are judged as in a build."""
WARM_UP = 5
DEVIATIONS = 2
"""Standard deviations of a score on some of the samples within which a limit is not resolved."""
JUDGED = ("accuracy", "latency_p50", "latency_p95")


@dataclass(frozen=True)
class Live:
    """What a client found."""

    digest: str | None
    """Of the artifact that the endpoint runs, where its address tells it."""
    score: float
    samples: int
    failed: int
    first_failure: str
    whole: bool
    """Whether these were all evaluation samples: then the score is what it is, and no estimate."""
    rounds: tuple[tuple[float, float], ...]
    """(p50, p95) in milliseconds, of a round each."""

    def estimates(self) -> Mapping[str, Estimate]:
        return {
            "latency_p50.max_ms": estimate([p50 for p50, _ in self.rounds]),
            "latency_p95.max_ms": estimate([p95 for _, p95 in self.rounds]),
        }


def measure(
    runtime: Any, control: Any, endpoint: str, samples: Sequence[Any], labels: Sequence[Any], spec: Spec, *, whole: bool
) -> Live:
    """Sends every sample, one after the other. Raises UserError where the endpoint is not there or answers nothing."""
    digest = running_digest(control, endpoint)
    bodies = [encode(sample, spec) for sample in samples]
    for body, kind in bodies[:WARM_UP]:
        _asked(runtime, endpoint, body, kind)
    failed = 0
    first_failure = ""
    milliseconds = []
    answers = []
    for body, kind in bodies:
        started = time.perf_counter_ns()
        answer, failure = _asked(runtime, endpoint, body, kind)
        milliseconds.append((time.perf_counter_ns() - started) / 1e6)
        failed += bool(failure)
        first_failure = first_failure or failure
        answers.append(None if failure else answer)
    if failed == len(bodies):
        raise UserError(first_failure, "read the endpoint's log: slipway local logs")
    starts = range(0, max(len(milliseconds) - ROUND + 1, 1), ROUND)
    rounds = tuple(percentiles(milliseconds[start : start + ROUND]) for start in starts)
    score = round(_score(answers, labels, spec), 6)  # as a measurement has it
    return Live(digest, score, len(bodies), failed, first_failure, whole, rounds)


def _score(answers: Sequence[Any], labels: Sequence[Any], spec: Spec) -> float:
    """The spec's metric of what a client was answered; None is a request that failed."""
    if (metric := METRICS.get(metric_of(spec))) is None:
        right = [one is not None and named(one, spec) == int(label) for one, label in zip(answers, labels, strict=True)]
        return sum(right) / len(right)
    return metric.score([None if one is None else answer_of_one(one, spec) for one in answers], labels).value


def check(live: Live, gates: Gates, source_score: float | None) -> list[GateResult]:
    """The gates that a client can judge: accuracy, and latency in milliseconds, the way over the network included."""
    estimates = dict(live.estimates())
    if not live.whole:
        margin = DEVIATIONS * sqrt(live.score * (1 - live.score) / live.samples)
        low, high = live.score - margin, live.score + margin
        estimates["accuracy.min"] = Estimate(live.score, (low, high))
        if source_score is not None:
            estimates["accuracy.max_drop"] = Estimate(
                source_score - live.score, (source_score - high, source_score - low)
            )
    judged = gates.model_copy(update={gate: None for gate in FIELDS if gate not in JUDGED})
    results = check_gates(judged, _as_measured(source_score), _as_measured(live.score), estimates)
    return [result for result in results if not result.gate.endswith("max_ratio")]


def _as_measured(score: float | None) -> Measurement:
    """A measurement of which only the score is looked at; what takes time has its estimates."""
    return Measurement(
        metric="accuracy",
        score=score,
        samples=0,
        latency_p50_ms=0,
        latency_p95_ms=0,
        memory_peak_mb=0,
        size_mb=0,
        threads=1,
    )


def running_digest(control: Any, endpoint: str) -> str | None:
    """SHA-256 of the artifact that an endpoint runs, by its address. Raises UserError where it is not in service."""

    def in_service(found: Mapping[str, Any]) -> None:
        if found["EndpointStatus"] != "InService":
            raise UserError(
                f"{endpoint} is {found['EndpointStatus']}: {found.get('FailureReason', 'no reason is given')}",
                "wait until it is InService, or deploy again",
            )

    _, model = running(control, endpoint, in_service, "deploy it: slipway up")
    digest = re.search(r"[0-9a-f]{64}", address_of(model))
    return digest.group() if digest else None


def running(
    control: Any, endpoint: str, usable: Callable[[Mapping[str, Any]], None], next_step: str
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The live configuration of an endpoint and its first variant's model, as SageMaker describes them.

    `usable` raises for a description of the endpoint that does not do. Raises UserError, with `next_step` where
    something is not there.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found = control.describe_endpoint(EndpointName=endpoint)
        usable(found)
        config = control.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
        return config, control.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    except ClientError as error:
        raise UserError(f"{endpoint}: {error.response['Error'].get('Message', error)}", next_step) from None
    except BotoCoreError as error:
        raise UserError(f"{endpoint}: {error}", "are the cloud and its credentials reachable?") from None


def address_of(model: Mapping[str, Any]) -> str:
    """Where a described model's artifact lies; empty where it has none."""
    address: str = model.get("PrimaryContainer", {}).get("ModelDataUrl", "")
    return address


def _asked(runtime: Any, endpoint: str, body: bytes, kind: str) -> tuple[Any, str]:
    """The answer, or why there was none."""
    try:
        return predict(runtime, endpoint, body, kind), ""
    except UserError as error:
        return None, error.message
