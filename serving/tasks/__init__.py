"""Task name → module. Each module says how requests of its kind become model inputs, and outputs answers.

Importing a task imports numpy and orjson alone; tokenizers, Pillow and soxr are imported where they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from serving.tasks import (
    audio_classification,
    image_classification,
    object_detection,
    speech_recognition,
    tabular,
    tensor,
    text_classification,
    text_embedding,
    text_generation,
    token_classification,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from serving.config import ServingConfig
    from serving.tasks.classification import Arrays
    from serving.tasks.request import Body, Request


class Task(Protocol):
    """What a task's module has."""

    CONTENT_TYPES: tuple[str, ...]
    """Accepted media types, the first one preferred."""
    REQUIREMENTS: tuple[str, ...]
    """Distributions that the artifact's `code/requirements.txt` must name."""

    def encode(self, samples: Sequence[Any], config: ServingConfig) -> Arrays:
        """A batch of decoded samples to the model's inputs by name; axis 0 is the batch."""

    def decode_request(self, body: Body, content_type: str | None, config: ServingConfig) -> Request:
        """A request to its samples. Raises RequestError."""

    def postprocess(self, outputs: Arrays, config: ServingConfig) -> list[Any]:
        """The model's outputs to one answer for each sample."""

    def answers(self, outputs: Arrays, samples: Sequence[Any], config: ServingConfig) -> list[Any]:
        """What a client that sends nothing but the sample gets for each: metrics compare these. Tasks that are scored
        by the highest output of each sample, classification and `tensor`, have none."""

    def answer(self, outputs: Arrays, request: Request, config: ServingConfig) -> Any:
        """The model's outputs to what the client of `request` gets."""

    def stream(self, session: Any, request: Request, config: ServingConfig) -> Iterator[bytes]:
        """What the client gets part by part. Only of a task whose requests have the parameter `stream`."""

    def batch_key(self, request: Request) -> Hashable:
        """Requests of the same key may be answered by one forward pass."""

    def join(self, parts: Iterable[Sequence[Any]]) -> Sequence[Any]:
        """The samples of several requests of one key, for `encode`."""

    def input_axes(self, config: ServingConfig) -> dict[str, dict[int, str]]:
        """The model's inputs by name, each with the symbolic names of its axes of free length."""

    def output_names(self, config: ServingConfig) -> tuple[str, ...]:
        """The model's outputs in order."""


TASKS: dict[str, Task] = {
    "text-classification": cast("Task", text_classification),
    "image-classification": cast("Task", image_classification),
    "audio-classification": cast("Task", audio_classification),
    "tensor": cast("Task", tensor),
    "tabular": cast("Task", tabular),
    "object-detection": cast("Task", object_detection),
    "text-embedding": cast("Task", text_embedding),
    "token-classification": cast("Task", token_classification),
    "text-generation": cast("Task", text_generation),
    "speech-recognition": cast("Task", speech_recognition),
}
