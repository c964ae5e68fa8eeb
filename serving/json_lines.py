"""Several requests in one body: JSON Lines, a request a line, answered by a line each in the same order.

Batch transform sends as many records as fit into a payload (`MultiRecord`). Apart from the tasks because every task
takes a request as a line of JSON, and apart from the handler because AWS's toolkits see one request here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from serving.errors import RequestError
from serving.tasks.request import JSON_LINES, MAX_SAMPLES, Body, Request, media_type

_RUN = 32
"""Requests of one run of the model at most; `SLIPWAY_MAX_BATCH` makes it fewer, as it does between requests."""


@dataclass(frozen=True)
class Lines:
    """The requests of one body, in order, and the number of the line of each."""

    requests: tuple[Request, ...]
    numbers: tuple[int, ...]


class Answers(list[Any]):
    """What each of several requests is answered."""


def sent(content_type: str | None) -> bool:
    return content_type is not None and media_type(content_type) == JSON_LINES


def decode(body: Body, decode_request: Callable[[bytes], Request]) -> Lines:
    """Every line by `decode_request`; lines with nothing on them are none. Raises RequestError, naming the line.

    Outside of batch transform, which alone waits so long, a body holds no more samples than any other request.
    """
    content = body.encode() if isinstance(body, str) else bytes(body)
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    if not lines:
        raise RequestError(400, 'the body has no line; send {"inputs": …} on each')
    requests = []
    samples = 0
    for number, line in lines:
        with _of_line(number):
            requests.append(decode_request(line))
        samples += len(requests[-1].samples)
        if samples > MAX_SAMPLES and os.environ.get("SAGEMAKER_BATCH") != "true":
            raise RequestError(400, f"{MAX_SAMPLES} inputs are the most of one request that is no batch transform's")
    return Lines(tuple(requests), tuple(number for number, _ in lines))


def runs(requests: Sequence[Request], key: Callable[[Request], Hashable]) -> Iterator[list[int]]:
    """Positions of requests that may share a run of the model: of one key, and few enough."""
    given = os.environ.get("SLIPWAY_MAX_BATCH", "")
    most = min(_RUN, int(given)) if given.isdecimal() and int(given) else _RUN
    groups: dict[Hashable, list[int]] = {}
    rows: dict[Hashable, int] = {}
    for position, request in enumerate(requests):
        same, size = key(request), len(request.samples)
        group = groups.setdefault(same, [])
        if group and (len(group) == most or rows[same] + size > MAX_SAMPLES):
            yield group
            group = groups[same] = []
            rows[same] = 0
        group.append(position)
        rows[same] = rows.get(same, 0) + size
    yield from groups.values()


@contextmanager
def _of_line(number: int) -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        raise RequestError(error.status_code, f"line {number}: {error.message}") from None


def answered(
    lines: Lines, key: Callable[[Request], Hashable], together: Any, alone: Callable[[Request], Any]
) -> Answers:
    """Answers in order: by `together`, many requests at a time, or where that gives None or fails by `alone`.

    `together` is None for a model that takes no batches. Raises RequestError, naming the line.
    """
    found: dict[int, Any] = {}
    for group in runs(lines.requests, key) if together is not None else ([one] for one in range(len(lines.requests))):
        shared = None
        if together is not None and len(group) > 1:
            try:
                shared = together([lines.requests[position] for position in group])
            except Exception:  # one line's fault: each is tried alone, and tells its own
                shared = None
        for place, position in enumerate(group):
            with _of_line(lines.numbers[position]):
                found[position] = alone(lines.requests[position]) if shared is None else shared[place]
    return Answers(found[position] for position in range(len(lines.requests)))
