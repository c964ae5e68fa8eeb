"""The examples of the tasks beyond classification: what is committed is what README and record say."""

from __future__ import annotations

import json
import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from shipped_examples import EXAMPLES, ROOT, load_network, read_specs

from examples.addresses import data as addresses_data
from examples.addresses.corpus import Address
from examples.sentences import data as sentences_data
from examples.spoken_digits import data as digits_data
from examples.spoken_digits import model as digits_model
from model_build import datasets
from model_build.metrics import METRICS, metric_of
from model_build.spec import CONTENT_TYPES, Spec
from serving.tasks import TASKS

FOLDERS = {"addresses": "addresses", "sentences": "sentences", "spoken-digits": "spoken_digits"}
DATA: dict[str, ModuleType] = {"addresses": addresses_data, "sentences": sentences_data, "spoken-digits": digits_data}
TRAINED = ("addresses", "spoken-digits")

every_example = pytest.mark.parametrize("name", FOLDERS)
every_trained_one = pytest.mark.parametrize("name", TRAINED)


@pytest.fixture(scope="module")
def specs() -> dict[str, Spec]:
    return read_specs(FOLDERS)


@pytest.fixture(scope="module")
def networks(specs: dict[str, Spec]) -> dict[str, torch.nn.Module]:
    return {name: load_network(specs[name]) for name in TRAINED}


def answers(spec: Spec, network: torch.nn.Module, samples: list[Any]) -> list[Any]:
    """What an endpoint would answer."""
    config = datasets.serving_config(spec, ROOT)
    task = TASKS[spec.task]
    found = []
    for start in range(0, len(samples), 32):
        part = samples[start : start + 32]
        inputs = task.encode(part, config)
        with torch.inference_mode():
            output = network(**{name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
        found += task.answers(dict(zip(task.output_names(config), [output], strict=True)), part, config)
    return found


def record(name: str) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((EXAMPLES / FOLDERS[name] / "training.json").read_text("utf-8"))
    return run


@every_trained_one
def test_the_committed_weights_reach_the_score_that_training_recorded(
    name: str, specs: dict[str, Spec], networks: dict[str, torch.nn.Module]
) -> None:
    samples, references = DATA[name].evaluation()
    recorded = record(name)
    assert recorded["metric"] == metric_of(specs[name])
    assert recorded["samples"] == len(references)
    result = METRICS[recorded["metric"]].score(answers(specs[name], networks[name], samples), references)
    assert result.value == pytest.approx(recorded["score"], abs=0.01)
    gate = specs[name].gates.accuracy
    assert gate is not None and gate.min is not None and result.value > gate.min


@every_example
def test_references_are_what_the_metric_takes(name: str, specs: dict[str, Spec]) -> None:
    spec = specs[name]
    samples, references = DATA[name].evaluation()
    assert len(samples) == len(references) >= 100
    assert not [problem for one in references if (problem := METRICS[metric_of(spec)].problem(one, spec.labels))]


@every_example
def test_data_is_the_same_at_every_call_and_a_limit_takes_its_beginning(name: str) -> None:
    for factory in (DATA[name].evaluation, DATA[name].calibration):
        samples, references = factory()
        again, references_again = factory()
        few, few_references = factory(limit=5)
        assert references == references_again and few_references == references[:5]
        assert all(np.array_equal(one, other) for one, other in zip(samples, again, strict=True))
        assert all(np.array_equal(one, other) for one, other in zip(samples[:5], few, strict=True))


@every_example
def test_no_sample_is_in_both_slices(name: str) -> None:
    seen = {np.asarray(sample).tobytes() for sample in DATA[name].evaluation()[0]}
    assert len(seen) >= 100
    assert not seen & {np.asarray(sample).tobytes() for sample in DATA[name].calibration()[0]}


@every_example
def test_the_notice_names_every_file_of_data(name: str) -> None:
    notice = (EXAMPLES / "NOTICE.md").read_text("utf-8")
    section = notice.split(f"(`{FOLDERS[name]}/`)")[1].split("\n## ")[0]
    ours = {".py", ".md", ".pyc"}
    files = [file for file in (EXAMPLES / FOLDERS[name]).iterdir() if file.is_file() and file.suffix not in ours]
    assert files
    assert not [file.name for file in files if f"`{file.name}`" not in section and file.name != "training.json"]
    assert sum(file.stat().st_size for file in files) < 3_000_000


@every_trained_one
def test_the_sample_is_answered_as_the_readme_says(
    name: str, specs: dict[str, Spec], networks: dict[str, torch.nn.Module]
) -> None:
    spec = specs[name]
    assert spec.sample is not None
    sample = ROOT / spec.sample
    readme = (EXAMPLES / FOLDERS[name] / "README.md").read_text("utf-8")
    said = re.search(rf"`{sample.name}`[^*`]*\*\*([\w /-]+)\*\*", readme)
    assert said
    config = datasets.serving_config(spec, ROOT)
    request = TASKS[spec.task].decode_request(sample.read_bytes(), CONTENT_TYPES[sample.suffix], config)
    (answer,) = answers(spec, networks[name], list(request.samples))
    assert (answer["text"] if spec.task == "speech-recognition" else answer[0]["entity_group"]) == said[1]


def test_the_spans_of_addresses_are_words_of_them() -> None:
    for text, spans in zip(*addresses_data.evaluation(), strict=True):
        for start, end, _ in spans:
            part = text[start:end]
            assert part == part.strip(" ,")
            assert (start == 0 or not text[start - 1].isalnum()) and (end == len(text) or not text[end].isalnum())


def test_addresses_that_differ_by_numbers_alone_fall_into_one_part() -> None:
    one, other = Address("12 Elm Street, Ames IA 50010", ()), Address("977 Elm Street, Ames, IA 50011", ())
    assert one.part == other.part


def test_strings_of_digits_are_as_long_as_the_model_hears_and_hold_every_word(specs: dict[str, Spec]) -> None:
    strings, texts = digits_data.evaluation()
    assert specs["spoken-digits"].labels == digits_model.SYMBOLS
    audio = datasets.serving_config(specs["spoken-digits"], ROOT).audio
    assert audio is not None and audio.length == digits_data.LENGTH
    assert all(signal.dtype == np.float32 and len(signal) <= digits_data.LENGTH for signal in strings)
    assert {word for text in texts for word in text.split()} == set(digits_data.WORDS)
    assert len(set(texts)) > 90


def test_stories_come_equally_of_each_topic() -> None:
    labels = sentences_data.evaluation()[1]
    assert [labels.count(topic) for topic in range(5)] == [20] * 5
    assert sorted(sentences_data.evaluation(limit=5)[1]) == [0, 1, 2, 3, 4]
