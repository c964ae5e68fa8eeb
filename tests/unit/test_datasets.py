"""Samples of factories: checked, encoded alone, stored by shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_build import datasets
from model_build.errors import UserError
from model_build.metrics.base import Result
from model_build.spec import Factory, Spec

CODE = """
import numpy as np

def lengths(sizes):
    return [{"x": np.full(size, float(size))} for size in sizes], np.arange(len(sizes))

def answer(samples, labels):
    return samples, labels

def not_a_pair():
    return [1]
"""

TEXTS = """
def texts(sizes, words):
    return [{"x": np.zeros(size)} for size in sizes], words
"""


def spec_of(**changes: Any) -> Spec:
    values: dict[str, Any] = {
        "name": "m",
        "task": "tensor",
        "tensor": {"inputs": {"x": {"shape": [-1]}}},
        "source": {"onnx": {"path": "m.onnx"}},
    }
    return Spec.model_validate(values | changes)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "sample_factory.py").write_text(CODE)
    (tmp_path / "out").mkdir()
    return tmp_path


def write(project: Path, spec: Spec, name: str, **arguments: Any) -> Path:
    factory = Factory(factory=f"sample_factory:{name}", args=arguments)
    datasets.write(factory, "data.evaluation", spec, project, project / "out")
    return project / "out"


def test_samples_of_equal_shape_are_stored_together_with_their_labels(project: Path) -> None:
    folder = write(project, spec_of(), "lengths", sizes=[3, 5, 3, 3])
    assert json.loads((folder / "index.json").read_text()) == [
        {"count": 3, "inputs": ["x"]},
        {"count": 1, "inputs": ["x"]},
    ]
    assert np.load(folder / "0.x.npy").shape == (3, 3)
    assert np.load(folder / "0.labels.npy").tolist() == [0, 2, 3]
    assert np.load(folder / "1.labels.npy").tolist() == [1]
    assert [batch["x"].shape for batch in datasets.batches(folder, 2)] == [(2, 3), (1, 3), (1, 5)]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("not_a_pair", {}, "must return (samples, labels); it returned list"),
        ("answer", {"samples": [], "labels": []}, "labels as an int64 array (n,); they are float64 of shape (0,)"),
        ("answer", {"samples": [1, 2], "labels": [1]}, "as many of one as of the other; it returned 2 and 1"),
        ("answer", {"samples": [1], "labels": [0.5]}, "they are float64 of shape (1,)"),
        ("answer", {"samples": [1], "labels": [[0]]}, "they are int64 of shape (1, 1)"),
        ("answer", {"samples": [{"y": [1.0]}], "labels": [0]}, "sample 0 of sample_factory:answer cannot be encoded"),
    ],
)
def test_what_a_factory_returns_wrongly_is_told(
    project: Path, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        write(project, spec_of(), name, **arguments)
    assert caught.value.message.startswith("data.evaluation: ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("changes", "shapes"),
    [
        (
            {"tensor": {"inputs": {"x": {"shape": [-1, 3]}, "ids": {"shape": [-1], "dtype": "int64"}}}},
            {"x": (2, 7, 3), "ids": (2, 11)},
        ),
        (
            {"task": "image-classification", "tensor": None, "image": {"size": [6, 4]}, "labels": ["a", "b"]},
            {"pixels": (2, 3, 6, 4)},
        ),
        (
            {"task": "audio-classification", "tensor": None, "labels": ["a", "b"]}
            | {"audio": {"sample_rate": 8000, "seconds": 0.5}},
            {"waveform": (2, 4000)},
        ),
    ],
)
def test_the_example_batch_needs_no_data_and_is_always_the_same(
    project: Path, changes: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> None:
    spec = spec_of(**changes)
    first, second = datasets.example(spec, project), datasets.example(spec, project)
    assert {name: array.shape for name, array in first.items()} == shapes
    assert all(np.array_equal(first[name], second[name]) for name in first)


class Longest:
    """A metric whose references are words."""

    VERSION = 1
    LIBRARIES = ()

    def problem(self, reference: Any, labels: Any) -> str:
        return "" if isinstance(reference, str) else f"is {reference!r}, no word"

    def score(self, answers: Any, references: Any) -> Result:
        return Result(sum(one == other for one, other in zip(answers, references, strict=True)) / len(references))


@pytest.fixture
def by_words(monkeypatch: pytest.MonkeyPatch) -> Spec:
    monkeypatch.setattr(datasets, "METRICS", {"longest": Longest()})
    return spec_of(measure={"metric": "longest"})


def test_labels_that_are_no_classes_are_kept_as_the_metric_wants_them(project: Path, by_words: Spec) -> None:
    (project / "sample_factory.py").write_text(CODE + TEXTS)
    folder = write(project, by_words, "texts", sizes=[3, 5, 3, 3], words=["a", "b", "c", "d"])
    kept = [json.loads((folder / f"{number}.references.json").read_text()) for number in range(2)]
    assert kept == [[["a", None], ["c", None], ["d", None]], [["b", None]]]
    with pytest.raises(UserError, match="passes that train need a class"):
        list(datasets.labelled(folder))
    (project / "half").mkdir()
    datasets.write_half(folder, 1, project / "half")
    halves = [json.loads((project / f"half/{number}.references.json").read_text()) for number in range(2)]
    assert halves == [[["c", None]], [["b", None]]]
    assert json.loads((project / "half/index.json").read_text()) == [{"count": 1, "inputs": ["x"]}] * 2


def test_labels_that_come_as_an_array_are_plain_values_to_the_metric(
    project: Path, by_words: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Longest, "problem", lambda _, reference, labels: "" if type(reference) is int else "is no int")
    folder = write(project, by_words, "lengths", sizes=[3, 3])  # its labels are an array
    assert json.loads((folder / "0.references.json").read_text()) == [[0, None], [1, None]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", 3], r"labels\[1\] is 3, no word"),
        (["a"], "as many of one as of the other; it returned 2 and 1 of them"),
    ],
)
def test_labels_that_the_metric_cannot_compare_are_told(
    project: Path, by_words: Spec, words: list[Any], message: str
) -> None:
    (project / "sample_factory.py").write_text(CODE + TEXTS)
    with pytest.raises(UserError, match=message):
        write(project, by_words, "texts", sizes=[3, 5], words=words)
