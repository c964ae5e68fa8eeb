"""The task image-classification: pictures in, ranked labels out.

Requests: a PNG or JPEG file (`image/png`, `image/jpeg`, `application/x-image`), `application/json` `{"inputs": …}` with
base64 files or nested lists of 0…255, or `application/x-npy` of uint8: (height, width) for mode L, (height, width, 3)
for RGB, one axis more for a batch. Answers: the five best labels `[{"label", "score"}, …]`, or `top_k` of them (null:
every one); a list of those for a list of pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.tasks import pictures
from serving.tasks.classification import OUTPUTS, Arrays, Ranking, rank
from serving.tasks.request import Request, any_batch, chain

if TYPE_CHECKING:
    from serving.config import ServingConfig

CONTENT_TYPES = pictures.CONTENT_TYPES
REQUIREMENTS = pictures.REQUIREMENTS

encode, decode_request, input_axes = pictures.encode, pictures.decode_request, pictures.input_axes
batch_key, join = any_batch, chain


def postprocess(outputs: Arrays, config: ServingConfig, top_k: int | None = 5) -> list[Ranking]:
    """For each picture its `top_k` best labels, best first."""
    return rank(outputs, config, top_k)


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets: one ranking, or a list of them for a list of pictures."""
    rankings = postprocess(outputs, config, request.parameters.get("top_k", 5))
    return rankings[0] if request.single else rankings


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return OUTPUTS
