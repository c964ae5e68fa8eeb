"""Batches are as large as pays, nobody waits for company, and a bad neighbour spoils nobody's answer."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import orjson
import pytest
from serving_artifacts import write_artifact

from serving import handler, program
from serving.batch_size import BatchSize
from serving.batching import Batcher, Job
from serving.program import Answer, Call, Program
from serving.tasks.arrays import npy_parts


def learned(size: BatchSize, cost: Callable[[int], float], *, waiting: int = 64, runs: int = 400) -> int:
    """The limit after many runs that took `cost(size)` seconds each."""
    for _ in range(runs):
        taken = size.next(waiting)
        size.note(taken, cost(taken))
    return size.limit


def test_a_model_with_a_fixed_price_for_each_run_gets_the_largest_batches() -> None:
    assert learned(BatchSize(32, 1.0), lambda n: 0.001 + n * 0.00001) == 32


def test_a_model_that_batches_do_not_make_cheaper_is_run_request_by_request() -> None:
    assert learned(BatchSize(32, 1.0), lambda n: n * 0.005) == 1


def test_a_batch_stays_below_its_share_of_the_objective() -> None:
    assert learned(BatchSize(32, 0.05), lambda n: 0.01 + n * 0.005) == 8


def test_a_size_from_which_on_requests_get_dearer_is_not_passed() -> None:
    assert learned(BatchSize(64, 10.0), lambda n: 0.001 * n + 0.004 + max(0, n - 8) * 0.01) == 8


def test_the_limit_follows_when_costs_change() -> None:
    size = BatchSize(16, 1.0)
    assert learned(size, lambda n: 0.001 + n * 0.00001) == 16
    assert learned(size, lambda n: n * 0.001 + n * n * 0.0005, runs=20_000) == 1


def test_never_more_is_taken_than_waits() -> None:
    size = BatchSize(32, 1.0)
    learned(size, lambda n: 0.001)
    assert [size.next(waiting) for waiting in (1, 2, 3)] == [1, 2, 3]


def test_one_is_always_one() -> None:
    assert learned(BatchSize(1, 1.0), lambda n: 0.001) == 1


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact's code extends the path and is imported as `inference`."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setitem(sys.modules, "inference", ModuleType("inference"))


def tensor_program(tmp_path: Path) -> Program:
    return program.load(write_artifact(tmp_path / "artifact", "tensor", code=False))


def rows(*values: list[float]) -> Call:
    return Call(orjson.dumps({"inputs": list(values)}), "application/json", None)


def content(result: Answer | Exception) -> Any:
    assert isinstance(result, tuple), result
    return orjson.loads(b"".join(result[0]))


class CountingSession:
    """A model's session that notes the size of each run."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.sizes: list[int] = []

    def get_inputs(self) -> Any:
        return self.session.get_inputs()

    def run(self, names: Any, feeds: Any) -> Any:
        self.sizes.append(len(next(iter(feeds.values()))))
        return self.session.run(names, feeds)


def counted(loaded: Program) -> CountingSession:
    session = CountingSession(loaded.model.session)
    loaded.model = handler.Model(loaded.model.config, loaded.model.task, session)
    return session


def test_requests_share_a_forward_pass_and_each_gets_its_own_rows(tmp_path: Path) -> None:
    loaded = tensor_program(tmp_path)
    session = counted(loaded)
    npy = Call(b"".join(npy_parts(np.array([[0, 0, 1]], np.float32))), "application/x-npy", None)
    results = loaded.respond_all([rows([1, 0, 0]), rows([0, 1, 0], [1, 1, 1]), npy])
    outputs = [content(result)["outputs"]["output"] for result in results]
    assert outputs == [[[1, 2]], [[3, 4], [9, 12]], [[5, 6]]]
    assert session.sizes == [4]


def test_a_mistake_in_one_request_is_its_own(tmp_path: Path) -> None:
    loaded = tensor_program(tmp_path)
    session = counted(loaded)
    good, bad, other = loaded.respond_all([rows([1, 0, 0]), rows([1]), rows([0, 1, 0])])
    assert content(good)["outputs"]["output"] == [[1, 2]]
    assert "expected shape" in str(bad)
    assert content(other)["outputs"]["output"] == [[3, 4]]
    assert session.sizes == [2]


def test_a_forward_pass_that_fails_is_tried_again_for_each_request_alone(tmp_path: Path) -> None:
    loaded = tensor_program(tmp_path)

    class Fragile(CountingSession):
        def run(self, names: Any, feeds: Any) -> Any:
            result = super().run(names, feeds)
            if (feeds["x"] == 9).any():
                raise RuntimeError("nine")
            return result

    session = Fragile(loaded.model.session)
    loaded.model = handler.Model(loaded.model.config, loaded.model.task, session)
    good, bad = loaded.respond_all([rows([1, 0, 0]), rows([9, 0, 0])])
    assert content(good)["outputs"]["output"] == [[1, 2]]
    assert str(bad) == "nine"
    assert session.sizes == [2, 1, 1]


def test_texts_of_different_lengths_get_the_answers_that_they_get_alone(tmp_path: Path) -> None:
    loaded = program.load(write_artifact(tmp_path / "artifact", "text-classification", code=False))
    calls = [Call(orjson.dumps({"inputs": text}), None, None) for text in ("goal goal match shares", "market", "goal")]
    together = [content(result) for result in loaded.respond_all(calls)]
    assert together == [content(loaded.respond(call)) for call in calls]


def test_outputs_without_a_row_for_each_sample_end_batching_for_good(tmp_path: Path) -> None:
    loaded = tensor_program(tmp_path)

    class Summing(CountingSession):
        def run(self, names: Any, feeds: Any) -> Any:
            self.sizes.append(len(feeds["x"]))
            return [feeds["x"].sum(axis=0, keepdims=True)]

    session = Summing(loaded.model.session)
    loaded.model = handler.Model(loaded.model.config, loaded.model.task, session)
    results = loaded.respond_all([rows([1, 0, 0]), rows([0, 1, 0])])
    assert [content(result)["outputs"]["output"] for result in results] == [[[1, 0, 0]], [[0, 1, 0]]]
    assert session.sizes == [2, 1, 1]
    assert not loaded.batches


def test_own_code_is_never_batched(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "tensor", code=False)
    (directory / "code").mkdir()
    (directory / "code/inference.py").write_text(
        "def predict_fn(data, model):\n    return {'rows': len(data.samples)}\n"
    )
    assert not program.load(directory).batches
    assert tensor_program(tmp_path / "plain").batches


@pytest.mark.parametrize(
    ("source", "at_once"),
    [
        ("from serving.handler import input_fn, model_fn, output_fn, predict_fn\n", True),
        ("def input_fn(body, content_type):\n    return None\n", False),
        ("def transform_fn(model, body, content_type, accept):\n    return b''\n", False),
    ],
)
def test_only_our_own_functions_are_run_at_once(source: str, at_once: bool, tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "tensor", code=False)
    (directory / "code").mkdir()
    (directory / "code/inference.py").write_text(source)
    told: list[bool] = []
    program.load(directory, told.append)
    assert told == [at_once]


class Collected(Job):
    """A job whose answer is kept."""

    def __init__(self, call: Call, done: asyncio.Event | None = None) -> None:
        super().__init__()
        self.call = call
        self.result: Answer | Exception | None = None
        self.parts: list[bytes] = []
        self.done = done or asyncio.Event()

    def finish(self, result: Answer | Exception) -> None:
        self.result = result
        self.done.set()

    def send_part(self, part: bytes, kind: str) -> None:
        self.parts.append(part)

    def end_stream(self, error: Exception | None) -> None:
        self.result = error
        self.done.set()

    def wait_writable(self) -> None:
        return


def held_program(release: threading.Event, begun: threading.Event, *, batches: bool = False) -> Program:
    """Answers each request with its body, once released."""

    def transform(model: Any, body: bytes, content_type: str, accept: str) -> bytes:
        begun.set()
        release.wait(30)
        return body

    return Program(None, lambda *_: None, lambda *_: None, lambda *_: None, transform, batches=batches)


def test_a_job_is_run_at_once_and_others_wait_for_it_in_their_order() -> None:
    release, begun = threading.Event(), threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        batcher = Batcher(held_program(release, begun), loop, workers=1, max_batch=8, objective=1.0)
        jobs = [Collected(Call(b"%d" % number, None, None)) for number in range(3)]
        batcher.put(jobs[0])
        assert await loop.run_in_executor(None, begun.wait, 30)
        for job in jobs[1:]:
            batcher.put(job)
        jobs[1].gone = True  # its client left: it is not predicted
        assert batcher.pending == 3
        assert batcher.longest_run() > 0
        release.set()
        await asyncio.wait_for(jobs[2].done.wait(), 30)
        assert jobs[0].result == ([b"0"], "application/json")
        assert jobs[1].result is None
        assert jobs[2].result == ([b"2"], "application/json")
        assert (batcher.pending, batcher.pending_bytes) == (0, 0)
        assert batcher.expected_wait() > 0
        assert batcher.close()

    asyncio.run(main())


def test_a_stream_is_given_on_part_by_part_and_its_end_tells_an_error() -> None:
    def transform(model: Any, body: bytes, content_type: str, accept: str) -> Iterator[str]:
        yield "one "
        yield "two"
        if body == b"break":
            raise RuntimeError("broken off")

    async def main() -> None:
        program_ = Program(None, lambda *_: None, lambda *_: None, lambda *_: None, transform)
        batcher = Batcher(program_, asyncio.get_running_loop(), workers=1, max_batch=8, objective=1.0)
        whole, broken = Collected(Call(b"", None, None)), Collected(Call(b"break", None, None))
        for job in (whole, broken):
            batcher.put(job)
            await asyncio.wait_for(job.done.wait(), 30)
            assert job.parts == [b"one ", b"two"]
        assert whole.result is None
        assert str(broken.result) == "broken off"
        assert batcher.close()

    asyncio.run(main())


def test_closing_tells_of_a_thread_that_nothing_can_end() -> None:
    release, begun = threading.Event(), threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        batcher = Batcher(held_program(release, begun), loop, workers=1, max_batch=1, objective=1.0)
        batcher.put(Collected(Call(b"", None, None)))
        assert await loop.run_in_executor(None, begun.wait, 30)
        assert not batcher.close()
        release.set()

    asyncio.run(main())


@pytest.mark.parametrize(
    "task",
    [
        "image-classification",
        "tensor",
        "text-classification",
        "audio-classification",
        "text-embedding",
        "token-classification",
        "speech-recognition",
    ],
)
def test_the_models_of_every_task_take_batches_of_any_size(task: str, tmp_path: Path) -> None:
    assert program.load(write_artifact(tmp_path / "artifact", task, code=False)).batches


def test_a_model_with_a_fixed_first_axis_is_not_batched(tmp_path: Path) -> None:
    import hashlib
    import json

    import onnx

    directory = write_artifact(tmp_path / "artifact", "tensor", code=False)
    model = onnx.load(directory / "model.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, directory / "model.onnx")
    values = json.loads((directory / "slipway.json").read_text())
    values["files"]["model.onnx"] = hashlib.sha256((directory / "model.onnx").read_bytes()).hexdigest()
    (directory / "slipway.json").write_text(json.dumps(values))
    assert not program.load(directory).batches
