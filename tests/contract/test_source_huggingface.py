"""Models as `transformers` saves them, made here: tiny and with random weights."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_build.errors import UserError
from model_build.loading import read
from model_build.passes import export_onnx
from model_build.passes.base import Context
from model_build.quiet import quiet
from model_build.sources import huggingface, open_module
from model_build.spec import Spec

pytestmark = pytest.mark.contract

REVISION = "0123456789abcdef0123456789abcdef01234567"
TEXT = {"task": "text-classification", "labels": ["no", "maybe", "yes"], "text": {"tokenizer": "tokenizer.json"}}
IMAGE = {"task": "image-classification", "labels": ["a", "b"], "image": {"size": [8, 8]}}
TOKENS = {"input_ids": np.array([[2, 5, 7, 3], [2, 9, 3, 0]]), "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]])}


def spec(values: dict[str, Any], **source: Any) -> Spec:
    return Spec.model_validate({"name": "m", **values, "source": {"huggingface": source or {"path": "model"}}})


def load(one: Spec, root: Path) -> Any:
    load = open_module(one, root).load
    assert load is not None
    return load()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a text model in `model` and one of pictures in `pictures`."""
    import torch
    import transformers

    root = tmp_path_factory.mktemp("huggingface")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with quiet():
        text = transformers.BertConfig(**sizes, vocab_size=20, id2label={0: "no", 1: "maybe", 2: "yes"})
        transformers.BertForSequenceClassification(text).save_pretrained(root / "model")
        pictures = transformers.ViTConfig(**sizes, image_size=8, patch_size=4, id2label={0: "a", 1: "b"})
        transformers.ViTForImageClassification(pictures).save_pretrained(root / "pictures")
        transformers.BertModel(text).save_pretrained(root / "base")
    return root


def copy(project: Path, target: Path) -> Path:
    shutil.copytree(project / "model", target / "model")
    return target


def test_a_text_model_gives_its_logits_for_the_tasks_inputs(project: Path) -> None:
    import torch
    import transformers

    module = load(spec(TEXT), project)
    own = transformers.BertForSequenceClassification.from_pretrained(project / "model").eval()
    tensors = {name: torch.from_numpy(array) for name, array in TOKENS.items()}
    with torch.inference_mode():
        assert torch.equal(module(**tensors), own(**tensors).logits)
    assert not module.training
    assert [path.name for path in huggingface.files(spec(TEXT), project)] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("values", "path", "batch", "axes"),
    [
        (TEXT, "model", TOKENS, {name: {0: "batch", 1: "sequence"} for name in TOKENS}),
        (IMAGE, "pictures", {"pixels": np.ones((2, 3, 8, 8), np.float32)}, {"pixels": {0: "batch"}}),
    ],
)
def test_a_model_is_exported_with_the_tasks_names(
    project: Path, tmp_path: Path, values: Any, path: str, batch: Any, axes: Any
) -> None:
    import onnx

    context = Context(output=tmp_path, example=lambda: batch, input_axes=axes, output_names=("logits",))
    made = export_onnx.run(open_module(spec(values, path=path), project), export_onnx.Config(), context)
    graph = onnx.load(made.path).graph
    assert [value.name for value in graph.input] == list(batch)
    assert [value.name for value in graph.output] == ["logits"]


def test_nothing_connects_while_a_local_model_is_loaded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(spec(TEXT), project)


def test_code_beside_the_model_is_never_run(project: Path, tmp_path: Path) -> None:
    root = copy(project, tmp_path)
    config = json.loads((root / "model" / "config.json").read_text())
    own = {"AutoModelForSequenceClassification": "code.Model", "AutoConfig": "code.Config"}
    (root / "model" / "code.py").write_text(f"open({str(root / 'ran')!r}, 'w')\n")
    (root / "model" / "config.json").write_text(json.dumps(config | {"auto_map": own}))
    load(spec(TEXT), root)  # the library's own class is taken
    (root / "model" / "config.json").write_text(json.dumps(config | {"auto_map": own, "model_type": "unheard-of"}))
    with pytest.raises(UserError, match="transformers cannot load it as AutoModelForSequenceClassification"):
        load(spec(TEXT), root)
    assert not (root / "ran").exists()


def test_weights_that_would_have_to_be_unpickled_are_refused(project: Path, tmp_path: Path) -> None:
    import torch

    root = copy(project, tmp_path)
    (root / "model" / "model.safetensors").unlink()
    torch.save({}, root / "model" / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"model: holds no \.safetensors file"):
        load(spec(TEXT), root)


def test_a_model_that_was_not_fine_tuned_is_refused(project: Path) -> None:
    with pytest.raises(UserError, match=r"base: its weights lack classifier\.bias, classifier\.weight.*random weights"):
        load(spec(TEXT, path="base"), project)


def test_labels_in_another_order_are_refused_and_other_names_are_not(project: Path) -> None:
    with pytest.raises(UserError, match="labels: are the model's in another order"):
        open_module(spec(TEXT | {"labels": ["yes", "no", "maybe"]}), project)
    with pytest.raises(UserError, match="labels: has 2 classes, and the model 3: no, maybe, yes"):
        open_module(spec(TEXT | {"labels": ["no", "yes"]}), project)
    open_module(spec(TEXT | {"labels": ["nein", "vielleicht", "ja"]}), project)


def test_labels_that_a_spec_leaves_out_are_the_models(project: Path) -> None:
    (project / "specs").mkdir(exist_ok=True)
    (project / "tokenizer.json").write_text("{}")
    path = project / "specs" / "m.yaml"
    path.write_text(
        "name: m\ntask: text-classification\ntext: {tokenizer: tokenizer.json}\nsource: {huggingface: {path: model}}\n"
    )
    one, problems = read(path, project)
    assert problems == [] and one is not None
    assert one.labels == ("no", "maybe", "yes")


@pytest.fixture
def cache(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, which holds the text model as owner/name."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--owner--name" / "snapshots" / REVISION
    shutil.copytree(project / "model", folder)
    return folder


HUB = {"repository": "owner/name", "revision": REVISION}


def test_a_model_of_the_hub_comes_from_the_local_cache(cache: Path) -> None:
    one = spec(TEXT, **HUB)
    assert huggingface.files(one, cache) == [cache / "model.safetensors"]
    assert load(one, cache)(**_tensors()).shape == (2, 3)
    without = spec({key: value for key, value in TEXT.items() if key != "labels"}, **HUB)
    assert huggingface.with_labels(without, cache).labels == ("no", "maybe", "yes")


def _tensors() -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in TOKENS.items()}


def test_a_model_that_is_not_in_the_cache_is_not_downloaded_unasked(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    calls: list[dict[str, Any]] = []

    def download(repository: str, **options: Any) -> str:
        calls.append({"repository": repository, **options})
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    (cache / "model.safetensors").rename(cache.parent / "gone")  # as an interrupted download leaves it
    with pytest.raises(UserError, match=rf"owner/name is not on this machine at the revision {REVISION}") as caught:
        load(spec(TEXT, **HUB), cache)
    assert "offline" in caught.value.next_step and not calls
    open_module(spec(TEXT, **HUB, offline=False), cache)
    (call,) = calls
    assert (call["repository"], call["revision"]) == ("owner/name", REVISION)
    assert call["allow_patterns"] == ["config.json", "*.safetensors", "*.safetensors.index.json"]


def test_a_download_that_fails_is_one_clear_message(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def download(*_: Any, **__: Any) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    shutil.rmtree(cache)
    with pytest.raises(UserError, match="owner/name cannot be downloaded: no route to host"):
        open_module(spec(TEXT, **HUB, offline=False), cache)
