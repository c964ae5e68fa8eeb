"""Logits to ranked labels, for the three classification tasks.

The answers are those of the Hugging Face inference toolkit, so that its clients work unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.config import ServingConfig
from serving.errors import ModelError

Arrays = dict[str, np.ndarray[Any, Any]]
Ranking = list[dict[str, Any]]

OUTPUTS = ("logits",)


def probabilities(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Softmax of (batch, classes) in float32; the row's maximum is subtracted first, so that nothing overflows."""
    logits = logits.astype(np.float32, copy=False)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: np.ndarray[Any, Any] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def rank(outputs: Arrays, config: ServingConfig, top_k: int | None) -> list[Ranking]:
    """For each sample the `top_k` best labels (None: every one), best first: `[{"label", "score"}, …]`.

    Ties keep the order of the labels. Raises ModelError where the model's output cannot be ranked.
    """
    logits = outputs["logits"]
    if logits.ndim != 2 or (config.labels and logits.shape[1] != len(config.labels)):
        raise ModelError(f"the model's logits have shape {logits.shape}, but there are {len(config.labels)} labels")
    if not np.isfinite(logits).all():
        raise ModelError("the model's logits are not finite for this input")
    scores = probabilities(logits)
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :top_k]
    return [
        [{"label": config.label(index), "score": float(row[index])} for index in best]
        for row, best in zip(scores, order.tolist(), strict=True)
    ]
