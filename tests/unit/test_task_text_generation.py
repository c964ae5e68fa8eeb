"""The task text-generation: requests, options, answers and streams, on two hand-made graphs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_artifacts import write_artifact

from serving import handler, program
from serving.config import ServingConfig
from serving.errors import ModelError, RequestError
from serving.tasks import text_generation as task


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("generation") / "artifact", "text-generation", code=False)


@pytest.fixture(scope="module")
def config(folder: Path) -> ServingConfig:
    return ServingConfig.read(folder)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> program.Program:
    return program.load(folder)


def body(inputs: Any, **values: Any) -> bytes:
    return json.dumps({"inputs": inputs} | values).encode()


def answered(loaded: program.Program, content: bytes, kind: str = "application/json", accept: str | None = None) -> Any:
    parts, media = loaded.respond(program.Call(content, kind, accept))
    assert media == "application/json"
    return json.loads(b"".join(parts))


@pytest.fixture(autouse=True)
def model_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_MODEL_DIR", str(folder))


def test_one_text_and_several_are_answered_by_a_list_of_texts(loaded: program.Program) -> None:
    assert answered(loaded, body("goal")) == [{"generated_text": "goal match"}]
    texts = answered(loaded, body(["market", "match", "goal"]))
    assert texts == [{"generated_text": text} for text in ("market shares", "match", "goal match")]
    assert answered(loaded, b"market", "text/plain") == [{"generated_text": "market shares"}]


def test_beams_and_lengths_can_be_asked_for(loaded: program.Program) -> None:
    assert answered(loaded, body("goal", parameters={"max_new_tokens": 1})) == [{"generated_text": "goal"}]
    assert answered(loaded, body("goal", parameters={"num_beams": 2})) == [{"generated_text": "goal match"}]
    longer = answered(loaded, body("goal", parameters={"min_new_tokens": 4, "do_sample": False}))
    assert len(longer[0]["generated_text"].split()) >= 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parameters": {"max_new_tokens": 7}}, "max_new_tokens must be an integer from 1 to 6"),
        ({"parameters": {"max_new_tokens": True}}, "max_new_tokens must be an integer"),
        ({"parameters": {"num_beams": 0}}, "num_beams must be an integer from 1 to 16"),
        ({"parameters": {"num_beams": 2.5}}, "num_beams must be an integer"),
        ({"parameters": {"length_penalty": "long"}}, "length_penalty must be a number"),
        ({"parameters": {"early_stopping": 1}}, "early_stopping must be true, false"),
        ({"parameters": {"early_stopping": "soon"}}, "early_stopping must be true, false"),
        ({"parameters": {"do_sample": True}}, "does not draw"),
        ({"parameters": {"temperature": 1}}, "unknown parameter 'temperature'"),
        ({"stream": "yes"}, "stream must be true or false"),
        ({"stream": True, "parameters": {"num_beams": 2}}, "num_beams must be 1"),
        ({"streams": True}, "unknown key 'streams'"),
    ],
)
def test_what_cannot_be_had_is_refused(values: dict[str, Any], message: str, config: ServingConfig) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        task.decode_request(body("goal", **values), "application/json", config)
    assert caught.value.status_code == 400


def test_a_list_is_not_streamed_nor_are_json_lines(config: ServingConfig) -> None:
    with pytest.raises(RequestError, match="one text at a time"):
        task.decode_request(body(["goal"], stream=True), "application/json", config)
    with pytest.raises(RequestError, match="as a whole"):
        handler.input_fn(body("goal", stream=True), "application/jsonlines")


def events(parts: Iterator[Any]) -> list[dict[str, Any]]:
    content = b"".join(parts)
    assert content.endswith(b"\n\n")
    return [json.loads(event.removeprefix(b"data:")) for event in content.split(b"\n\n")[:-1]]


def test_a_stream_has_an_event_for_each_token_and_the_whole_text_at_last(loaded: program.Program) -> None:
    parts, kind = loaded.respond(program.Call(body("goal", stream=True), "application/json", "text/event-stream"))
    assert kind == "text/event-stream" and isinstance(parts, Iterator)
    first, second, last = events(parts)
    assert (first["token"]["text"], second["token"]["text"]) == ("goal", " match")
    assert (first["index"], first["generated_text"], first["details"]) == (1, None, None)
    assert first["token"]["special"] is False and first["token"]["logprob"] < 0
    assert last["token"]["special"] is True and last["token"]["text"] == ""
    assert last["generated_text"] == "goal match"
    assert last["details"] == {"finish_reason": "eos_token", "generated_tokens": 3}


def test_a_stream_that_reaches_its_length_says_so(loaded: program.Program) -> None:
    request = body("goal", stream=True, parameters={"max_new_tokens": 2})
    *_, last = events(loaded.respond(program.Call(request, None, None))[0])  # type: ignore[arg-type]
    assert last["details"] == {"finish_reason": "length", "generated_tokens": 2}
    assert last["generated_text"] == "goal match"


def test_toolkits_that_cannot_stream_send_the_events_at_once(folder: Path) -> None:
    model = handler.model_fn(str(folder))
    data = handler.input_fn(body("goal", stream=True), "application/json")
    sent = handler.output_fn(handler.predict_fn(data, model), "application/json")
    assert len(events(iter([sent]))) == 3


def test_requests_of_equal_options_share_a_run_and_streams_share_none(config: ServingConfig) -> None:
    def key(**values: Any) -> Any:
        return task.batch_key(task.decode_request(body("goal", **values), None, config))

    assert key() == key(parameters={}) == key(parameters={"do_sample": False})
    assert key(parameters={"num_beams": 2}) == key(parameters={"num_beams": 2}) != key()
    assert key(stream=True) not in (key(), key(stream=True))
    requests = [
        task.decode_request(body(text, parameters={"num_beams": 2}), None, config) for text in ("goal", "match")
    ]
    joined = task.join([request.samples for request in requests])
    assert list(joined) == ["goal", "match"]
    assert task.encode(joined, config)["num_beams"] == 2


def test_several_requests_at_once_are_answered_each_its_own(loaded: program.Program) -> None:
    calls = [
        program.Call(body(text, **values), None, None)
        for text, values in (
            ("goal", {}),
            ("market", {}),
            ("goal", {"stream": True}),
            ("goal", {"parameters": {"max_new_tokens": 1}}),
            ("goal", {"parameters": {"max_new_tokens": 99}}),
        )
    ]
    first, second, streamed, short, wrong = loaded.respond_all(calls)
    assert json.loads(b"".join(first[0])) == [{"generated_text": "goal match"}]  # type: ignore[index]
    assert json.loads(b"".join(second[0])) == [{"generated_text": "market shares"}]  # type: ignore[index]
    assert json.loads(b"".join(short[0])) == [{"generated_text": "goal"}]  # type: ignore[index]
    assert isinstance(streamed, tuple) and len(events(streamed[0])) == 3  # type: ignore[arg-type]
    assert isinstance(wrong, RequestError)


def test_a_prefix_and_another_key_are_the_specs(folder: Path) -> None:
    values = json.loads((folder / "slipway.json").read_text())
    values["generation"] |= {"prefix": "market ", "answer_key": "translation_text"}
    config = ServingConfig.from_dict(values, folder)
    assert task.encode(["goal"], config)["input_ids"].tolist() == [[4, 2]]
    sequences = {"sequences": np.array([[0, 2, 3, 1, 0], [0, 4, 1, 2, 2]])}
    request = task.decode_request(body(["a", "b"]), None, config)
    assert task.answer(sequences, request, config) == [
        {"translation_text": "goal match"},
        {"translation_text": "market"},
    ]
    with pytest.raises(ModelError, match="not whole"):
        task.postprocess({"sequences": np.zeros((2, 3), np.float32)}, config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: must be above 0"),
        ({"eos_token_ids": []}, "needs eos_token_ids"),
        ({"early_stopping": "soon"}, "early_stopping"),
        ({"answer_key": "answer"}, "answer_key"),
        ({"forced_bos_token_id": "a"}, "forced_bos_token_id: must be an integer"),
    ],
)
def test_a_wrong_section_is_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    values = json.loads((folder / "slipway.json").read_text())
    values["generation"] |= changes
    with pytest.raises(ModelError, match=message):
        ServingConfig.from_dict(values, folder)


def test_both_graphs_are_verified_and_must_fit_each_other(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "artifact", "text-generation", code=False)
    values = json.loads((folder / "slipway.json").read_text())
    digest = values["files"].pop("encoder.onnx")
    with pytest.raises(ModelError, match=r"no digest of encoder\.onnx"):
        ServingConfig.from_dict(values, folder).verify_files()
    values["files"]["encoder.onnx"] = digest
    config = ServingConfig.from_dict(values, folder)
    config.verify_files()
    with (folder / "encoder.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ModelError, match=r"encoder\.onnx: is damaged"):
        config.verify_files()
    assert config.generation is not None
    from serving.generation import Session

    with pytest.raises(ModelError, match="its inputs are"):
        (folder / "encoder.onnx").write_bytes((write_artifact(tmp_path / "t", "tensor") / "model.onnx").read_bytes())
        Session(folder / "model.onnx", 1, config.generation)


def test_the_batcher_streams_what_the_task_gives(loaded: program.Program) -> None:
    from serving.batching import Batcher, Job

    class Streamed(Job):
        def __init__(self, call: program.Call) -> None:
            super().__init__()
            self.call = call
            self.parts: list[bytes] = []
            self.kinds: set[str] = set()
            self.ended = asyncio.Event()

        def send_part(self, part: bytes, kind: str) -> None:
            self.parts.append(part)
            self.kinds.add(kind)

        def end_stream(self, error: Exception | None) -> None:
            assert error is None
            self.ended.set()

        def wait_writable(self) -> None:
            pass

    async def ask() -> Streamed:
        batcher = Batcher(loaded, asyncio.get_running_loop(), workers=1, max_batch=4, objective=1.0)
        job = Streamed(program.Call(body("goal", stream=True), None, None))
        batcher.put(job)
        await asyncio.wait_for(job.ended.wait(), 60)
        batcher.close()
        return job

    job = asyncio.run(ask())
    assert job.kinds == {"text/event-stream"}
    assert len(job.parts) == len(events(iter(job.parts))) == 3
