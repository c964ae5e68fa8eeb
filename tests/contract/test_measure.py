"""Measuring: scores that are right, processes that end, failures that are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest

from model_build import measure, measure_worker
from model_build.errors import UserError
from model_build.measure import Latency, Subject
from model_build.spec import Measure

pytestmark = pytest.mark.contract

SETTINGS = Measure(rounds=2, requests=5)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return onnx_models.write_linear(tmp_path / "linear.onnx")


@pytest.fixture
def data(tmp_path: Path, model: Path) -> Path:
    """Two groups of samples, as `datasets` writes them; the labels of 30 of the 100 are wrong."""
    folder = tmp_path / "data"
    folder.mkdir()
    x = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    labels = onnx_models.run(model, x).argmax(1)
    labels[:30] = (labels[:30] + 1) % 8
    for number, part in enumerate((slice(0, 70), slice(70, 100))):
        np.save(folder / f"{number}.x.npy", x[part])
        np.save(folder / f"{number}.labels.npy", labels[part])
    index = [{"count": 70, "inputs": ["x"]}, {"count": 30, "inputs": ["x"]}]
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def subject(path: Path, label: str = "m") -> Subject:
    return Subject(label, "onnx", {"path": str(path)})


def test_the_score_is_the_share_of_right_answers_over_all_groups(model: Path, data: Path) -> None:
    latencies, scores = measure.measure([subject(model)], data, ["logits"], SETTINGS, score=["m"])
    assert (scores["m"].value, scores["m"].samples) == (0.7, 100)
    assert len(latencies["m"].rounds) == 2
    assert latencies["m"].weight_bytes == model.stat().st_size
    assert 10 < latencies["m"].memory_mb < 2000


def test_only_what_is_asked_for_is_measured(model: Path, data: Path) -> None:
    both = [subject(model, "a"), subject(model, "b")]
    latencies, scores = measure.measure(both, data, ["logits"], SETTINGS, time=False, score=["b"])
    assert (latencies, list(scores)) == ({}, ["b"])


def test_outputs_that_are_not_finite_are_wrong(tmp_path: Path, model: Path, data: Path) -> None:
    for number in range(2):
        x = np.load(data / f"{number}.x.npy")
        x[::2] = np.nan
        np.save(data / f"{number}.x.npy", x)
    _, scores = measure.measure([subject(model)], data, ["logits"], SETTINGS, time=False, score=["m"])
    assert scores["m"].value == 0.35


def test_a_model_that_cannot_be_loaded_is_named_with_the_reason(tmp_path: Path, data: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="quantized: ONNX Runtime cannot load the model"):
        measure.measure([subject(tmp_path / "bad.onnx", "quantized")], data, ["logits"], SETTINGS)


def test_a_worker_that_dies_is_told_with_its_last_words(model: Path, data: Path) -> None:
    with measure.Worker("m", 1) as worker:
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        with pytest.raises(UserError, match="m: its process was killed by signal 9 during 'score'") as caught:
            worker.ask("score", judge={"metric": "accuracy"})
        assert "memory" in caught.value.next_step
    with measure.Worker("m", 1) as worker, pytest.raises(UserError, match="KeyError: 'no-such-kind'"):
        worker.ask("load", kind="no-such-kind", model={}, outputs=[], threads=1, data=str(data), requests=1)


def test_processes_started_ahead_are_taken_by_kind_and_the_others_end(model: Path, data: Path) -> None:
    ahead = measure.Ahead(["onnx", "pytorch"], SETTINGS.threads)
    others = [worker for kind, worker, _ in ahead._ready if kind == "pytorch"]
    try:
        assert ahead.take(subject(model), SETTINGS.threads + 1) is None  # its threads are another number
        (taken,) = [worker.process.pid for kind, worker, _ in ahead._ready if kind == "onnx"]
        latencies, scores = measure.measure(
            [subject(model, "a"), subject(model, "b")], data, ["logits"], SETTINGS, score=["a"], ahead=ahead
        )
        assert (set(latencies), scores["a"].value) == ({"a", "b"}, 0.7)
        with pytest.raises(ProcessLookupError):
            os.kill(taken, 0)
        assert ahead.take(subject(model), SETTINGS.threads) is None  # there was one
    finally:
        ahead.end()
    assert [worker.process.poll() for worker in others] == [-signal.SIGKILL]


def test_a_worker_ends_with_the_process_that_started_it_even_while_it_is_busy(model: Path, data: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(measure.SLIPWAY)}
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "model_build.measure_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    load: dict[str, Any] = {"kind": "onnx", "model": {"path": str(model)}, "outputs": ["logits"], "threads": 1}
    worker.stdin.write(json.dumps({"do": "load", "data": str(data), "requests": 5, **load}) + "\n")
    worker.stdin.flush()
    assert "load_seconds" in worker.stdout.readline()
    worker.stdin.write(json.dumps({"do": "time", "count": 100_000_000}) + "\n")  # hours of work
    worker.stdin.flush()
    worker.stdin.close()
    assert worker.wait(timeout=30) == 0
    worker.stdout.close()


def test_what_a_model_prints_is_not_taken_for_an_answer(tmp_path: Path, data: Path) -> None:
    (tmp_path / "printing_factory.py").write_text(
        "import torch\n\ndef build():\n    print('hello')\n    return torch.nn.Linear(64, 8)\n"
    )
    settings = {"factory": "printing_factory:build", "args": {}, "weights": {}, "root": str(tmp_path)}
    latencies, _ = measure.measure([Subject("source", "pytorch", settings)], data, ["logits"], SETTINGS)
    assert latencies["source"].weight_bytes == (64 * 8 + 8) * 4


def test_percentiles_are_the_medians_of_the_rounds_and_the_spread_their_range() -> None:
    latency = Latency(((1.0, 2.0), (9.0, 90.0), (1.2, 2.2)), memory_mb=1, load_seconds=1, weight_bytes=1)
    assert (latency.p50, latency.p95) == (1.2, 2.2)
    assert latency.spread() == {"p50_ms": (1.0, 9.0), "p95_ms": (2.0, 90.0)}
    assert measure.percentiles([float(value) for value in range(101)]) == (50.0, 95.0)


def test_every_model_has_its_turn_at_being_first() -> None:
    assert [measure._turned(["a", "b", "c"], turn)[0] for turn in range(4)] == ["a", "b", "c", "a"]


def test_requests_are_spread_evenly_over_all_samples(data: Path) -> None:
    batches = measure_worker._spread(data, 10)
    assert len(batches) == 10
    assert all(batch["x"].shape == (1, 64) for batch in batches)
    first, second = np.load(data / "0.x.npy"), np.load(data / "1.x.npy")
    np.testing.assert_array_equal(batches[3]["x"][0], first[30])
    np.testing.assert_array_equal(batches[9]["x"][0], second[20])
    assert len(measure_worker._spread(data, 1000)) == 100
