"""An MLServer runtime around `lean.Model`, speaking its own protocol (V2) with the least decoding that it allows."""

from __future__ import annotations

from typing import Any

import lean
import numpy as np
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Runtime(MLModel):
    async def load(self) -> bool:
        self.lean = lean.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (given,) = payload.inputs
        outputs = self._texts(given) if self.lean.tokenizer is not None else self._rows(given)
        return InferenceResponse(model_name=self.name, outputs=outputs)

    def _rows(self, given: Any) -> list[ResponseOutput]:
        rows = np.array(given.data.root, np.float32).reshape(given.shape)
        (outputs,) = [one["outputs"] for one in self.lean.predict([{self.lean.input: rows}])]
        return [
            ResponseOutput(
                name=name,
                shape=[len(values), len(values[0])],
                datatype="FP32",
                data=[value for row in values for value in row],
            )
            for name, values in outputs.items()
        ]

    def _texts(self, given: Any) -> list[ResponseOutput]:
        answers = [one for (one,) in self.lean.predict(list(given.data.root))]
        shape = [len(answers), 1]
        return [
            ResponseOutput(name="label", shape=shape, datatype="BYTES", data=[one["label"] for one in answers]),
            ResponseOutput(name="score", shape=shape, datatype="FP64", data=[one["score"] for one in answers]),
        ]
