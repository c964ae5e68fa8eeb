"""`code/inference.py` for SageMaker's inference toolkits, around `lean.Model`."""

from __future__ import annotations

from typing import Any

import lean
import orjson


def model_fn(model_dir: str) -> lean.Model:
    return lean.load()


def input_fn(body: Any, content_type: str) -> Any:
    return orjson.loads(body)["inputs"]


def predict_fn(data: Any, model: lean.Model) -> Any:
    return model.predict([data])[0]


def output_fn(prediction: Any, accept: str) -> bytes:
    return orjson.dumps(prediction)
