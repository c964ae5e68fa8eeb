"""The least code that turns a decoded request into an answer: what every peer runs, and what the bare loop is.

It reads an artifact's `slipway.json`, checks nothing, and holds ONNX Runtime to one thread. It imports no project code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import onnxruntime


class Model:
    """One unpacked artifact of the task tensor (one input) or text-classification."""

    def __init__(self, directory: str | Path) -> None:
        config = json.loads((Path(directory) / "slipway.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(Path(directory) / config["model"]), options, providers=["CPUExecutionProvider"]
        )
        self.labels = config["labels"]
        self.tokenizer: Any = None
        if "text" in config:
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(Path(directory) / config["text"]["tokenizer"]))
            self.tokenizer.enable_truncation(config["text"]["max_length"])
            self.tokenizer.enable_padding()
        else:
            ((self.input, _),) = config["tensor"]["inputs"].items()
            self.outputs = config["tensor"]["outputs"]

    def predict(self, requests: list[Any]) -> list[Any]:
        """One forward pass over the `inputs` of several requests; an answer for each, in plain Python objects."""
        if self.tokenizer is None:
            return self._tensors(requests)
        encodings = self.tokenizer.encode_batch_fast(requests)
        feeds = {
            "input_ids": np.array([one.ids for one in encodings], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encodings], np.int64),
        }
        (logits,) = self.session.run(None, feeds)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        scores = powers / powers.sum(axis=-1, keepdims=True)
        return [
            [{"label": self.labels[best], "score": float(row[best])}]
            for row, best in zip(scores, scores.argmax(axis=-1).tolist(), strict=True)
        ]

    def _tensors(self, requests: list[Any]) -> list[Any]:
        if len(requests) == 1:
            arrays = self.session.run(self.outputs, {self.input: np.array(requests[0][self.input], np.float32)})
            return [{"outputs": {name: array.tolist() for name, array in zip(self.outputs, arrays, strict=True)}}]
        rows = [one[self.input] for one in requests]
        arrays = self.session.run(self.outputs, {self.input: np.concatenate([np.array(x, np.float32) for x in rows])})
        answers: list[Any] = [{"outputs": {}} for _ in requests]
        for name, array in zip(self.outputs, arrays, strict=True):
            start, values = 0, array.tolist()
            for answer, given in zip(answers, rows, strict=True):
                answer["outputs"][name] = values[start : start + len(given)]
                start += len(given)
        return answers


def load() -> Model:
    """The model that the benchmark names in SLIPWAY_BENCH_MODEL."""
    return Model(os.environ["SLIPWAY_BENCH_MODEL"])


def batch() -> int:
    """Requests of one forward pass at most; 1 is no batching."""
    return int(os.environ.get("SLIPWAY_BENCH_BATCH", "1"))
