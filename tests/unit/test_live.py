"""A live endpoint as a client sees it, played by a few lines."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from model_build.errors import UserError
from model_build.metrics.base import Result
from model_build.spec import Gates, Spec
from slipway import live
from slipway.live import Live

DIGEST = "ab" * 32
SPEC = Spec.model_validate(
    {
        "name": "m",
        "task": "text-classification",
        "labels": ["a", "b"],
        "text": {"tokenizer": "t.json"},
        "source": {"onnx": {"path": "m.onnx"}},
    }
)


class Control:
    def __init__(self, status: str = "InService", exists: bool = True) -> None:
        self.status, self.exists = status, exists

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:
        if not self.exists:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "Could not find endpoint"}}, "x")
        return {"EndpointStatus": self.status, "EndpointConfigName": "c", "FailureReason": "no memory"}

    def describe_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:
        return {"ProductionVariants": [{"ModelName": "n"}]}

    def describe_model(self, ModelName: str) -> dict[str, Any]:
        return {"PrimaryContainer": {"ModelDataUrl": f"s3://bucket/m/{DIGEST}/model.tar.gz"}}


class Runtime:
    """Answers `b` to a text with a b in it; refuses one that is `bad`."""

    def invoke_endpoint(self, *, Body: bytes, **_: Any) -> dict[str, Any]:
        text = json.loads(Body)["inputs"]
        if text == "bad":
            raise ClientError({"Error": {"Code": "ModelError", "Message": "it failed"}}, "InvokeEndpoint")
        return {"Body": io.BytesIO(json.dumps([{"label": "b" if "b" in text else "a", "score": 1.0}]).encode())}


def measure(texts: list[str], labels: list[int], **changes: Any) -> Live:
    return live.measure(Runtime(), Control(**changes), "m-local", texts, labels, SPEC, whole=True)


def test_right_answers_are_counted_and_failures_are_wrong() -> None:
    found = measure(["aaa", "b", "bad", "b"] * 10, [0, 1, 1, 0] * 10)
    assert (found.score, found.samples, found.failed) == (0.5, 40, 10)
    assert found.score == 0.5
    assert "it failed" in found.first_failure
    assert found.digest == DIGEST
    assert all(0 < p50 <= p95 for p50, p95 in found.rounds)


def test_an_endpoint_that_answers_nothing_is_an_error() -> None:
    with pytest.raises(UserError, match="it failed"):
        measure(["bad"] * 3, [0] * 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"status": "Failed"}, "m-local is Failed: no memory"), ({"exists": False}, "m-local: Could not find endpoint")],
)
def test_an_endpoint_that_is_not_in_service_is_told_with_the_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        measure(["a"], [0], **changes)


def seen(right: int, samples: int, *, whole: bool, p50: float = 5.0) -> Live:
    return Live(DIGEST, right / samples, samples, 0, "", whole, ((p50, p50),) * 5)


def test_accuracy_and_milliseconds_are_judged_and_ratios_to_the_source_are_not() -> None:
    gates = Gates.model_validate(
        {
            "accuracy": {"max_drop": 0.01, "min": 0.9},
            "latency_p50": {"max_ms": 4, "max_ratio": 0.5},
            "latency_p95": {"max_ms": 6},
            "size": {"max_mb": 1},
        }
    )
    results = {one.gate: one for one in live.check(seen(910, 1000, whole=True), gates, 0.93)}
    assert {name: one.passed for name, one in results.items()} == {
        "accuracy.max_drop": False,
        "accuracy.min": True,
        "latency_p50.max_ms": False,
        "latency_p95.max_ms": True,
    }


def test_some_of_the_samples_resolve_only_what_their_number_can() -> None:
    gates = Gates.model_validate({"accuracy": {"min": 0.9}})
    (result,) = live.check(seen(91, 100, whole=False), gates, None)
    assert (result.passed, result.unresolved) == (False, True)
    (result,) = live.check(seen(98, 100, whole=False), gates, None)
    assert result.passed
    (result,) = live.check(seen(91, 100, whole=True), gates, None)
    assert result.passed


def test_another_metric_is_given_the_answers_and_what_failed_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Metric:
        def score(self, answers: Any, references: Any) -> Result:
            seen.extend(zip(answers, references, strict=True))
            return Result(0.25)

    monkeypatch.setattr(live, "METRICS", {"own": Metric()})
    spec = SPEC.model_copy(update={"measure": SPEC.measure.model_copy(update={"metric": "own"})})
    texts = ["a", "bad"]
    found = live.measure(Runtime(), Control(), "m-local", texts, ["first", "second"], spec, whole=True)
    assert (found.score, found.failed) == (0.25, 1)
    assert seen == [([{"label": "a", "score": 1.0}], "first"), (None, "second")]


@pytest.mark.parametrize(
    ("values", "answers", "labels", "score"),
    [
        (
            {"task": "text-embedding", "labels": [], "text": {"tokenizer": "t.json"}},
            [[[1, 0]], [[0.9, 0.1]], [[0, 1]], [[0.1, 0.9]], None],
            [0, 0, 1, 1, 1],
            0.8,
        ),
        (
            {"task": "token-classification", "labels": ["O", "B-ZIP"], "text": {"tokenizer": "t.json"}},
            [[{"entity_group": "ZIP", "score": 0.9, "word": "50010", "start": 0, "end": 5}], []],
            [[[0, 5, "ZIP"]], [[3, 8, "ZIP"]]],
            2 / 3,
        ),
        (
            {"task": "speech-recognition", "labels": ["_", "a"], "audio": {"seconds": 1}},
            [{"text": "one two"}, None],
            ["one two", "three"],
            2 / 3,
        ),
    ],
)
def test_answers_are_scored_by_the_tasks_own_metric(
    values: dict[str, Any], answers: list[Any], labels: list[Any], score: float
) -> None:
    spec = Spec.model_validate({"name": "m", "source": {"onnx": {"path": "m.onnx"}}} | values)
    assert live._score(answers, labels, spec) == pytest.approx(score)
