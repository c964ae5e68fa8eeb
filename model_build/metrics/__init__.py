"""Metric name → module, and the metrics of each task, its first one by default.

Every score is 0 to 1 and higher is better, so that one gate, `accuracy`, judges them all. `accuracy` itself has no
module: `measure_worker` counts it from the model's outputs, batch by batch, and keeps what it counted of each class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from model_build.metrics import bleu, chrf, entity_f1, macro_f1, r2, retrieval, rouge, word_accuracy
from model_build.metrics import map as map_

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


METRICS: Mapping[str, Metric] = {
    "bleu": cast("Metric", bleu),
    "chrf": cast("Metric", chrf),
    "rouge": cast("Metric", rouge),
    "macro_f1": cast("Metric", macro_f1),
    "map": cast("Metric", map_),
    "r2": cast("Metric", r2),
    "retrieval": cast("Metric", retrieval),
    "entity_f1": cast("Metric", entity_f1),
    "word_accuracy": cast("Metric", word_accuracy),
}

OF_TASK: Mapping[str, tuple[str, ...]] = {
    "text-generation": ("bleu", "chrf", "rouge"),
    "text-classification": (ACCURACY,),
    "image-classification": (ACCURACY,),
    "audio-classification": (ACCURACY,),
    "tensor": (ACCURACY,),
    "object-detection": ("map",),
    "tabular": (ACCURACY, "macro_f1", "r2"),
    "text-embedding": ("retrieval",),
    "token-classification": ("entity_f1",),
    "speech-recognition": ("word_accuracy",),
}


NUMBERS = ("r2",)
"""Metrics of a table's numbers; the others are of its labels."""


def metrics_of(spec: Spec) -> tuple[str, ...]:
    """The metrics that the spec may be scored by, the first by default."""
    known = OF_TASK[spec.task]
    return tuple(one for one in known if (one in NUMBERS) != bool(spec.labels)) if spec.task == "tabular" else known


def metric_of(spec: Spec) -> str:
    """The metric that the spec is scored by."""
    return spec.measure.metric or metrics_of(spec)[0]
