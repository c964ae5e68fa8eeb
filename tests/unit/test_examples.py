from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from shipped_examples import EXAMPLES, ROOT, load_network, read_specs

from examples.announcers import data as announcers_data
from examples.announcers import recordings
from examples.fashion import data as fashion_data
from examples.fashion import model as fashion_model
from examples.news_topics import data as news_data
from examples.news_topics import split
from model_build import datasets
from model_build.spec import CONTENT_TYPES, Spec
from serving.tasks import TASKS

FOLDERS = {"announcers": "announcers", "fashion": "fashion", "news-topics": "news_topics"}
DATA: dict[str, ModuleType] = {"announcers": announcers_data, "fashion": fashion_data, "news-topics": news_data}

every_example = pytest.mark.parametrize("name", FOLDERS)


@pytest.fixture(scope="module")
def specs() -> dict[str, Spec]:
    return read_specs(FOLDERS)


@pytest.fixture(scope="module")
def networks(specs: dict[str, Spec]) -> dict[str, torch.nn.Module]:
    return {name: load_network(spec) for name, spec in specs.items()}


def predictions(spec: Spec, network: torch.nn.Module, samples: Any, batch: int = 64) -> np.ndarray[Any, Any]:
    """The classes that the network gives samples which serving's own preprocessing has encoded."""
    config = datasets.serving_config(spec, ROOT)
    found = []
    for start in range(0, len(samples), batch):
        inputs = TASKS[spec.task].encode(samples[start : start + batch], config)
        with torch.inference_mode():
            found.append(network(**{name: torch.from_numpy(array) for name, array in inputs.items()}).argmax(1).numpy())
    return np.concatenate(found)


def record(name: str) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((EXAMPLES / FOLDERS[name] / "training.json").read_text("utf-8"))
    return run


@every_example
def test_the_committed_weights_fit_the_architecture(name: str, networks: dict[str, torch.nn.Module]) -> None:
    assert sum(parameter.numel() for parameter in networks[name].parameters()) > 200_000
    assert not networks[name].training


@every_example
def test_the_committed_weights_reach_the_accuracy_that_training_recorded(
    name: str, specs: dict[str, Spec], networks: dict[str, torch.nn.Module]
) -> None:
    # A part stands for all where all take long; a build measures all.
    part, tolerance = {"announcers": (None, 0.0045), "fashion": (2000, 0.01), "news-topics": (64, 0.03)}[name]
    samples, labels = DATA[name].evaluation(limit=part)
    reached = float((predictions(specs[name], networks[name], samples) == labels).mean())
    assert reached == pytest.approx(record(name)["score"], abs=tolerance)
    assert len(DATA[name].evaluation()[1]) == record(name)["samples"]


@every_example
def test_the_recorded_accuracy_is_as_high_as_the_model_is_meant_to_be(name: str) -> None:
    assert record(name)["score"] >= {"announcers": 0.95, "fashion": 0.925, "news-topics": 0.965}[name]


@every_example
def test_samples_are_what_an_endpoint_has_once_decoded(name: str, specs: dict[str, Spec]) -> None:
    for factory in (DATA[name].evaluation, DATA[name].calibration):
        samples, labels = factory(limit=8)
        assert len(samples) == len(labels) == 8
        assert labels.dtype == np.int64
        if name == "news-topics":
            assert all(isinstance(text, str) and len(text) > 100 for text in samples)
        elif name == "fashion":
            assert samples[0].dtype == np.uint8 and samples[0].shape == (28, 28)
        else:
            assert samples[0].dtype == np.float32 and samples[0].shape == (8000,)
            assert 0.01 < np.abs(samples).max() <= 1


@every_example
def test_data_is_the_same_at_every_call_and_a_limit_takes_its_beginning(name: str) -> None:
    for factory in (DATA[name].evaluation, DATA[name].calibration):
        (samples, labels), (again, labels_again) = factory(), factory()
        assert np.array_equal(samples, again) and np.array_equal(labels, labels_again)
        few, few_labels = factory(limit=5)
        assert np.array_equal(few, samples[:5]) and np.array_equal(few_labels, labels[:5])


@every_example
def test_every_class_is_in_the_evaluation_data_and_its_beginning_mixes_them(name: str, specs: dict[str, Spec]) -> None:
    labels = DATA[name].evaluation()[1]
    assert set(labels) == set(range(len(specs[name].labels)))
    assert len(set(labels[:20])) >= 3


@every_example
def test_no_sample_is_in_both_slices(name: str) -> None:
    seen = {np.asarray(sample).tobytes() for sample in DATA[name].evaluation()[0]}
    assert len(seen) >= 200
    assert not seen & {np.asarray(sample).tobytes() for sample in DATA[name].calibration()[0]}


@every_example
def test_the_sample_has_the_label_that_the_readme_says(
    name: str, specs: dict[str, Spec], networks: dict[str, torch.nn.Module]
) -> None:
    spec = specs[name]
    assert spec.sample is not None
    sample = ROOT / spec.sample
    readme = (EXAMPLES / FOLDERS[name] / "README.md").read_text("utf-8")
    said = re.search(rf"`{sample.name}`[^*`]*\*\*([\w/ -]+)\*\*", readme)
    assert said
    config = datasets.serving_config(spec, ROOT)
    request = TASKS[spec.task].decode_request(sample.read_bytes(), CONTENT_TYPES[sample.suffix], config)
    assert spec.labels[predictions(spec, networks[name], request.samples)[0]] == said[1]


@every_example
def test_the_notice_names_every_file_of_data(name: str) -> None:
    notice = (EXAMPLES / "NOTICE.md").read_text("utf-8")
    ours = {".py", ".md", ".pyc"}
    files = [file for file in (EXAMPLES / FOLDERS[name]).iterdir() if file.is_file() and file.suffix not in ours]
    assert len(files) >= 4
    assert not [file.name for file in files if f"`{file.name}`" not in notice and file.name != "training.json"]


def test_labels_of_the_data_and_of_the_specs_have_one_order(specs: dict[str, Spec]) -> None:
    assert specs["news-topics"].labels == news_data.TOPICS
    assert specs["announcers"].labels == announcers_data.ANNOUNCERS


def test_what_training_prepares_is_what_the_specs_say(specs: dict[str, Spec]) -> None:
    announcers, fashion, news = (import_module(f"examples.{folder}.train") for folder in FOLDERS.values())
    audio, image, text = (specs[name] for name in FOLDERS)
    assert announcers.CONFIG.audio == datasets.serving_config(audio, ROOT).audio
    assert text.text is not None and text.text.max_length == news.MAX_LENGTH
    images = fashion_data.calibration(limit=4)[0]
    encoded = TASKS[image.task].encode(images, datasets.serving_config(image, ROOT))["pixels"]
    assert np.allclose(fashion.normalise(images).numpy(), encoded, atol=1e-6)


def test_the_fashion_student_is_small_and_answers_as_well_as_its_record_says(specs: dict[str, Spec]) -> None:
    folder = EXAMPLES / "fashion"
    student = fashion_model.build_student()
    student.load_state_dict(load_file(folder / "student.safetensors"))
    assert sum(parameter.numel() for parameter in student.parameters()) < 120_000
    recorded = json.loads((folder / "student.json").read_text("utf-8"))
    assert recorded["judged_on"] == "held-out training images"
    images, labels = fashion_data.evaluation(limit=2000)
    reached = float((predictions(specs["fashion"], student.eval(), images) == labels).mean())
    assert reached == pytest.approx(recorded["score"], abs=0.015)  # other images, and fewer


def test_fashion_evaluates_on_the_whole_test_set() -> None:
    images, labels = fashion_data.evaluation()
    assert images.shape == (10000, 28, 28)
    assert np.bincount(labels).tolist() == [1000] * 10
    assert labels[:5].tolist() == [9, 2, 1, 1, 6]  # as the data set's own documentation shows them


def test_every_document_is_in_the_part_and_has_the_topic_that_its_name_says() -> None:
    corpus = news_data.documents()
    assert len(corpus) == 2225
    topic_of = {text: name.partition("/")[0] for name, text in corpus.items()}
    for part in ("train", "calibration", "evaluation"):
        texts, labels = news_data.part(part)
        assert [news_data.TOPICS[label] for label in labels] == [topic_of[text] for text in texts]


def test_the_committed_split_is_the_one_that_its_script_makes() -> None:
    assert json.loads(news_data.SPLIT.read_text("utf-8")) == split.divide(news_data.documents())


def test_no_story_is_told_in_two_parts_nor_twice_in_one() -> None:
    committed = json.loads(news_data.SPLIT.read_text("utf-8"))
    used = [name for part in ("train", "calibration", "evaluation") for name in committed[part]]
    stories = split.group(news_data.documents())
    assert len(used) == len(set(used)) == len(stories)
    assert all(len(story & set(used)) == 1 for story in stories)


def test_a_story_told_again_with_a_new_headline_is_one_story() -> None:
    words = [f"word{number}" for number in range(60)]
    documents = {
        "a/1": " ".join(["first", "headline", *words]),
        "a/2": " ".join(["another", *words[:50]]),
        "b/1": " ".join(reversed(words)),
    }
    assert sorted(map(sorted, split.group(documents))) == [["a/1", "a/2"], ["b/1"]]


def test_another_corpus_than_the_one_that_was_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = news_data.documents() | {"tech/001": "changed"}
    monkeypatch.setattr(news_data, "documents", lambda: other)
    with pytest.raises(ValueError, match=r"not the one that split\.json divides"):
        news_data.evaluation()


@pytest.mark.parametrize("part", ["evaluation", "calibration"])
def test_a_clip_is_of_its_announcer_and_of_a_phrase_of_its_part(part: str) -> None:
    with np.load(EXAMPLES / "announcers" / f"{part}.npz", allow_pickle=False) as stored:
        phrases, folders, labels = stored["phrases"], stored["folders"], stored["labels"]
    for phrase, folder, label in zip(phrases, folders, labels, strict=True):
        recording = recordings.Recording(str(phrase), str(folder), np.zeros(0, np.int16))
        assert recording.part == part  # training takes phrases whose part is "train"
        assert recording.label == label
        assert recording.folder.lower().endswith(announcers_data.ANNOUNCERS[label]) or label == 2
    assert len(set(zip(phrases, folders, strict=True))) == len(phrases)


def test_reading_recordings_that_are_not_installed_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="asterisk-core-sounds"):
        recordings.read(tmp_path)
