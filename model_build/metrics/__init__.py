"""Metric name → module, and the metrics of each task, its first one by default.

Every score is 0 to 1 and higher is better, so that one gate, `accuracy`, judges them all. `accuracy` itself has no
module: `measure_worker` counts it from the model's outputs, batch by batch, and keeps what it counted of each class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model_build.metrics.base import Result
    from model_build.spec import Spec

ACCURACY = "accuracy"


class Metric(Protocol):
    """What a metric's module has. Its docstring says what is compared, and by which definition."""

    VERSION: int
    """Raised when the same answers get another score: it is part of the cache key."""
    LIBRARIES: tuple[str, ...]
    """Distributions whose version can change the score."""

    def problem(self, reference: Any, labels: Sequence[str]) -> str:
        """What is wrong with what a factory of samples returned as the label of one; empty is good. `labels` are the
        spec's."""

    def score(self, answers: Sequence[Any], references: Sequence[Any]) -> Result:
        """The answers of `Task.answers` beside the samples' references, in order. None is an answer that failed."""


METRICS: Mapping[str, Metric] = {}

OF_TASK: Mapping[str, tuple[str, ...]] = {
    "text-classification": (ACCURACY,),
    "image-classification": (ACCURACY,),
    "audio-classification": (ACCURACY,),
    "tensor": (ACCURACY,),
}


def metric_of(spec: Spec) -> str:
    """The metric that the spec is scored by."""
    return spec.measure.metric or OF_TASK[spec.task][0]
