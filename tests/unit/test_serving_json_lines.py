"""Several requests in one body: every line is answered as it is alone, and a mistake is told with its line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from serving_artifacts import write_artifact

from serving import handler, json_lines, program
from serving.errors import RequestError
from serving.program import Call
from serving.tasks.request import JSON, JSON_LINES, Request

WORDS = ("goal", "match", "market", "shares")


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> program.Program:
    return program.load(write_artifact(tmp_path_factory.mktemp("a") / "text", "text-classification", code=False))


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> program.Program:
    return program.load(write_artifact(tmp_path_factory.mktemp("a") / "tensor", "tensor", code=False))


def lines(count: int, seed: int = 0) -> list[bytes]:
    """Requests of one text or of several, some with parameters."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        texts = [" ".join(chance.choices(WORDS, k=chance.randint(1, 6))) for _ in range(chance.randint(1, 3))]
        value: dict[str, object] = {"inputs": texts[0] if len(texts) == 1 else texts}
        if chance.random() < 0.3:
            value["parameters"] = {"top_k": chance.choice([1, 2, None])}
        found.append(json.dumps(value).encode())
    return found


def answer(served: program.Program, body: bytes, kind: str, accept: str | None = None) -> tuple[bytes, str]:
    parts, content_type = served.respond(Call(body, kind, accept))
    return b"".join(parts), content_type


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
def test_each_line_is_answered_as_it_is_alone(topics: program.Program, count: int) -> None:
    sent = lines(count, seed=count)
    body, kind = answer(topics, b"\n".join(sent) + b"\n\n", JSON_LINES)
    assert kind == JSON_LINES
    assert body.split(b"\n") == [answer(topics, line, JSON)[0] for line in sent]


def test_arrays_of_other_shapes_and_models_of_fixed_shape_are_answered_too(
    tensors: program.Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [b'{"inputs": [[1, 2, 3]]}', b'{"inputs": [[1, 2, 3], [4, 5, 6]]}', b'{"inputs": {"x": [[0, 0, 1]]}}']
    alone = [answer(tensors, line, JSON)[0] for line in sent]
    assert answer(tensors, b"\r\n".join(sent), JSON_LINES)[0].split(b"\n") == alone
    monkeypatch.setattr(handler, "takes_batches", lambda model: False)
    assert answer(tensors, b"\n".join(sent), JSON_LINES)[0].split(b"\n") == alone


@pytest.mark.parametrize(
    ("accept", "kind", "body"),
    [
        (None, JSON_LINES, b"1\n2"),
        ("*/*", JSON_LINES, b"1\n2"),
        (JSON_LINES, JSON_LINES, b"1\n2"),
        (JSON, JSON, b"[1,2]"),
    ],
)
def test_lines_are_answered_by_lines_unless_json_is_asked_for(accept: str | None, kind: str, body: bytes) -> None:
    chosen = handler.negotiate(accept, f"{JSON_LINES}; charset=utf-8")
    assert chosen == kind
    assert handler.output_fn(json_lines.Answers([1, 2]), chosen) == body


def test_one_request_may_be_answered_by_one_line(topics: program.Program) -> None:
    body, kind = answer(topics, b'{"inputs": ["goal", "market"]}', JSON, JSON_LINES)
    assert kind == JSON_LINES and len(orjson.loads(body)) == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"inputs": "goal"}\n\n{"text": "goal"}', "line 3: the body must be a JSON object"),
        (b'{"inputs": "goal"}\n{', "line 2: the body is not JSON"),
        (b'\n{"inputs": []}', "line 2: inputs must not be empty"),
        (b"\n \n", "the body has no line"),
    ],
)
def test_a_mistake_is_told_with_its_line(topics: program.Program, body: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=said) as told:
        answer(topics, body, JSON_LINES)
    assert told.value.status_code == 400


def test_a_request_holds_more_samples_in_batch_transform_alone(
    topics: program.Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"\n".join([b'{"inputs": "goal"}'] * 257)
    with pytest.raises(RequestError, match="256 inputs are the most"):
        answer(topics, body, JSON_LINES)
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    assert answer(topics, body, JSON_LINES)[0].count(b"\n") == 256


def test_a_run_has_requests_of_one_key_and_few_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    for _ in range(100):
        most = chance.choice(["", "1", "7", "1000"])
        monkeypatch.setenv("SLIPWAY_MAX_BATCH", most)
        requests = [
            Request([chance.choice("ab")] * chance.choice([1, 2, 100, 256]), single=False)
            for _ in range(chance.randint(0, 80))
        ]
        runs = list(json_lines.runs(requests, lambda request: request.samples[0]))
        assert sorted(position for run in runs for position in run) == list(range(len(requests)))
        for run in runs:
            assert len({requests[position].samples[0] for position in run}) == 1
            assert len(run) <= min(32, int(most or 32))
            assert len(run) == 1 or sum(len(requests[position].samples) for position in run) <= 256


def test_a_run_that_fails_is_tried_line_by_line() -> None:
    def alone(request: Request) -> str:
        if request.samples[0] == "bad":
            raise RequestError(400, "it is bad")
        return str(request.samples[0])

    def broken(requests: object) -> None:
        raise RuntimeError("one spoils all")

    good = [Request([name], single=True) for name in ("a", "b")]
    assert json_lines.answered(json_lines.Lines(tuple(good), (1, 2)), lambda _: None, broken, alone) == ["a", "b"]
    bad = json_lines.Lines((*good, Request(["bad"], single=True)), (1, 3, 4))
    with pytest.raises(RequestError, match="line 4: it is bad"):
        json_lines.answered(bad, lambda _: None, broken, alone)


def test_toolkits_get_lines_by_the_four_functions(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "text-classification", code=False)
    model = handler.model_fn(str(directory))
    context = SimpleNamespace(system_properties={"model_dir": str(directory)})
    data = handler.input_fn('{"inputs": "goal"}\n{"inputs": "market\u2028"}', JSON_LINES, context)
    answers = handler.output_fn(handler.predict_fn(data, model), JSON_LINES).split(b"\n")
    assert [orjson.loads(one)[0]["label"] for one in answers] == ["sport", "business"]
