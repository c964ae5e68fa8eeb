"""A sample as a client sends it, and the answer as a client reads it: the way through an endpoint and back.

Apart from `invoke`, which sends files: here the samples of a spec's data become requests.
"""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_build.spec import Spec


def encode(sample: Any, spec: Spec) -> tuple[bytes, str]:
    """Body and content type of a request with one decoded sample: JSON, PNG, 16-bit WAV, or JSON of arrays."""
    match spec.task:
        case "text-classification" | "text-embedding" | "token-classification" | "text-generation":
            return json.dumps({"inputs": sample}).encode(), "application/json"
        case "image-classification":
            return _png(sample), "image/png"
        case "object-detection":
            from serving.tasks.object_detection import MEASURED

            picture = base64.b64encode(_png(sample)).decode()
            return json.dumps({"inputs": picture, "parameters": MEASURED}).encode(), "application/json"
        case "audio-classification" | "speech-recognition":
            assert spec.audio is not None  # noqa: S101  # rules hold that a task has its section
            return _wav(sample, spec.audio.sample_rate), "audio/wav"
        case "tabular":
            return json.dumps({"inputs": [_row(sample)]}).encode(), "application/json"
        case _:
            inputs = {name: [array.tolist()] for name, array in sample.items()}
            return json.dumps({"inputs": inputs}).encode(), "application/json"


def named(answer: Any, spec: Spec) -> int | None:
    """The class that an answer puts first, as an index; None where it names none that the spec knows."""
    if spec.task == "tensor":
        scores = next(iter(answer["outputs"].values()))[0]
        return max(range(len(scores)), key=scores.__getitem__)
    while isinstance(answer, list) and answer:
        answer = answer[0]
    label = answer.get("label") if isinstance(answer, dict) else answer  # a table's rows have their labels alone
    return spec.labels.index(label) if label in spec.labels else None


def answer_of_one(answer: Any, spec: Spec) -> Any:
    """What the endpoint's task makes of one sample, out of the answer to a request with one; metrics compare it."""
    if spec.task == "text-generation":
        (text,) = answer[0].values()
        return text
    return answer[0] if spec.task in ("text-embedding", "tabular") else answer


def _row(sample: Any) -> dict[str, Any]:
    """One row of a table without its missing values: JSON has no NaN."""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in sample.items()}
    return {name: value for name, value in plain.items() if value not in (None, "") and value == value}


def _png(pixels: Any) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _wav(samples: Any, rate: int) -> bytes:
    import numpy as np

    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes())
    return stream.getvalue()
