"""The task text-classification: strings in, ranked labels out.

Requests: `application/json` `{"inputs": "text" | ["text", …], "parameters": {"top_k": n | null}}`, or `text/plain`.
Answers, as the Hugging Face inference toolkit gives them:

| request | answer |
|---|---|
| one text | `[{"label", "score"}]`: the best label |
| a list of texts | `[{"label", "score"}, …]`: the best label of each |
| one text, `top_k` given (null: every label) | `[{"label", "score"}, …]`, best first |
| a list of texts, `top_k` given | a list of such lists |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.tasks import texts
from serving.tasks.classification import OUTPUTS, Arrays, Ranking, rank
from serving.tasks.request import Body, Request, any_batch, chain

if TYPE_CHECKING:
    from serving.config import ServingConfig

CONTENT_TYPES, REQUIREMENTS = texts.CONTENT_TYPES, texts.REQUIREMENTS

batch_key, join = any_batch, chain
encode, input_axes = texts.encode, texts.input_axes


def decode_request(body: Body, content_type: str | None, config: ServingConfig) -> Request:
    """The texts of a request. Raises RequestError."""
    return texts.decode_request(body, content_type, config)


def postprocess(outputs: Arrays, config: ServingConfig, top_k: int | None = 1) -> list[Ranking]:
    """For each text its `top_k` best labels, best first."""
    return rank(outputs, config, top_k)


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets; see the table above."""
    rankings = postprocess(outputs, config, request.parameters.get("top_k", 1))
    if "top_k" not in request.parameters:
        return [ranking[0] for ranking in rankings]
    return rankings[0] if request.single else rankings


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return OUTPUTS
