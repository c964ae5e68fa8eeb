"""Models of `transformers` for the tasks beyond classification, made here: tiny and with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_build.errors import UserError
from model_build.passes import export_onnx
from model_build.passes.base import Context
from model_build.quiet import quiet
from model_build.sources import huggingface, open_module
from model_build.spec import Spec

pytestmark = pytest.mark.contract

SYMBOLS = ("<pad>", "|", "a", "b", "c")
EMBEDDING = {"task": "text-embedding", "text": {"tokenizer": "tokenizer.json"}}
SPEECH = {"task": "speech-recognition", "labels": SYMBOLS, "audio": {"seconds": 0.2}}
TOKENS = {"input_ids": np.array([[2, 5, 7, 3], [2, 9, 3, 0]]), "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]])}
SOUND = {"waveform": np.random.default_rng(0).normal(0.2, 0.3, (2, 3200)).astype(np.float32)}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an encoder of texts in `encoder` and a speech model in `speech`."""
    import torch
    import transformers

    root = tmp_path_factory.mktemp("huggingface")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with quiet():
        transformers.BertModel(transformers.BertConfig(**sizes, vocab_size=20)).save_pretrained(root / "encoder")
        speech = transformers.Wav2Vec2Config(
            **sizes,
            vocab_size=len(SYMBOLS),
            conv_dim=(8, 8),
            conv_stride=(5, 4),
            conv_kernel=(10, 8),
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
        )
        transformers.Wav2Vec2ForCTC(speech).save_pretrained(root / "speech")
    (root / "speech/vocab.json").write_text(json.dumps({symbol: i for i, symbol in enumerate(SYMBOLS)}))
    return root


def spec(values: dict[str, Any], path: str) -> Spec:
    return Spec.model_validate({"name": "m", **values, "source": {"huggingface": {"path": path}}})


def load(one: Spec, root: Path) -> Any:
    load = open_module(one, root).load
    assert load is not None
    return load()


def run(module: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        result: np.ndarray = module(*(torch.from_numpy(array) for array in batch.values())).numpy()
    return result


def hidden(root: Path) -> np.ndarray:
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(root / "encoder").eval()
    with torch.inference_mode():
        result: np.ndarray = model(**{k: torch.from_numpy(v) for k, v in TOKENS.items()}).last_hidden_state.numpy()
    return result


def test_a_text_becomes_the_mean_of_its_tokens_without_the_padding(project: Path) -> None:
    tokens = hidden(project)
    expected = [tokens[0].mean(0), tokens[1][:3].mean(0)]
    np.testing.assert_allclose(run(load(spec(EMBEDDING, "encoder"), project), TOKENS), expected, atol=1e-6)


@pytest.mark.parametrize("pooling", [{"pooling_mode_cls_token": True}, {"pooling_mode": "cls"}])
def test_pooling_is_what_the_folder_says(project: Path, tmp_path: Path, pooling: dict[str, Any]) -> None:
    shutil.copytree(project / "encoder", tmp_path / "encoder")
    (tmp_path / "encoder/1_Pooling").mkdir()
    (tmp_path / "encoder/1_Pooling/config.json").write_text(json.dumps(pooling | {"pooling_mode_mean_tokens": False}))
    found = run(load(spec(EMBEDDING, "encoder"), tmp_path), TOKENS)
    np.testing.assert_allclose(found, hidden(project)[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooled by max_tokens; known: mean_tokens"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "go through Dense, which is not known"),
        ("1_Pooling/config.json", [1], "cannot be read"),
    ],
)
def test_vectors_that_would_come_out_wrong_are_refused(
    project: Path, tmp_path: Path, file: str, content: Any, message: str
) -> None:
    shutil.copytree(project / "encoder", tmp_path / "encoder")
    (tmp_path / "encoder" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "encoder" / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load(spec(EMBEDDING, "encoder"), tmp_path)


def test_an_encoder_may_lack_the_pooling_layer_that_is_not_used(project: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(project / "encoder", tmp_path / "encoder")
    weights = load_file(project / "encoder/model.safetensors")
    assert any(name.startswith("pooler.") for name in weights)
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("pooler.")}
    save_file(kept, tmp_path / "encoder/model.safetensors", {"format": "pt"})
    np.testing.assert_array_equal(
        run(load(spec(EMBEDDING, "encoder"), tmp_path), TOKENS), run(load(spec(EMBEDDING, "encoder"), project), TOKENS)
    )


def test_a_speech_model_gives_its_logits_and_its_vocabulary_the_labels(project: Path) -> None:
    import torch
    import transformers

    own = transformers.Wav2Vec2ForCTC.from_pretrained(project / "speech").eval()
    with torch.inference_mode():
        expected = own(torch.from_numpy(SOUND["waveform"])).logits.numpy()
    np.testing.assert_array_equal(run(load(spec(SPEECH, "speech"), project), SOUND), expected)
    without = spec({key: value for key, value in SPEECH.items() if key != "labels"}, "speech")
    assert huggingface.with_labels(without, project).labels == SYMBOLS
    with pytest.raises(UserError, match="labels: are the model's in another order"):
        open_module(spec(SPEECH | {"labels": SYMBOLS[::-1]}, "speech"), project)


def test_a_sound_is_normalized_as_the_models_own_extractor_does(project: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    shutil.copytree(project / "speech", tmp_path / "speech")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    extractor.save_pretrained(tmp_path / "speech")
    short = SOUND["waveform"][0, :2000]
    padded = np.pad(short, (0, 1200))[None]  # as the endpoint pads
    given = torch.nn.functional.pad(extractor(short, sampling_rate=16000, return_tensors="pt").input_values, (0, 1200))
    own = transformers.Wav2Vec2ForCTC.from_pretrained(project / "speech").eval()
    with torch.inference_mode():
        expected = own(given).logits.numpy()
    found = run(load(spec(SPEECH, "speech"), tmp_path), {"waveform": padded})
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_vocabulary_with_gaps_is_refused(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "speech", tmp_path / "speech")
    (tmp_path / "speech/vocab.json").write_text('{"a": 0, "b": 7}')
    with pytest.raises(UserError, match=r"vocab\.json: its indices are not those from 0 to 1"):
        open_module(spec(SPEECH, "speech"), tmp_path)


TEXTS = {name: {0: "batch", 1: "sequence"} for name in TOKENS}


@pytest.mark.parametrize(
    ("values", "path", "batch", "axes", "output"),
    [
        (EMBEDDING, "encoder", TOKENS, TEXTS, "embeddings"),
        (SPEECH, "speech", SOUND, {"waveform": {0: "batch"}}, "logits"),
    ],
)
def test_each_is_exported_with_the_tasks_names_and_answers_the_same(
    project: Path, tmp_path: Path, values: Any, path: str, batch: Any, axes: Any, output: str
) -> None:
    import onnxruntime

    one = spec(values, path)
    context = Context(output=tmp_path, example=lambda: batch, input_axes=axes, output_names=(output,))
    made = export_onnx.run(open_module(one, project), export_onnx.Config(), context)
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_outputs()] == [output]
    (found,) = session.run([output], {name: array[:1] for name, array in batch.items()})
    np.testing.assert_allclose(found, run(load(one, project), batch)[:1], atol=1e-4)


def test_a_token_classifier_gives_logits_for_each_token_and_its_labels(tmp_path: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(**sizes, vocab_size=20, id2label={0: "O", 1: "B-PER", 2: "I-PER"})
    with quiet():
        own = transformers.BertForTokenClassification(config).eval()
        own.save_pretrained(tmp_path / "tagger")
    one = spec({"task": "token-classification", "text": {"tokenizer": "tokenizer.json"}}, "tagger")
    assert huggingface.with_labels(one, tmp_path).labels == ("O", "B-PER", "I-PER")
    with torch.inference_mode():
        expected = own(**{name: torch.from_numpy(array) for name, array in TOKENS.items()}).logits.numpy()
    found = run(load(one, tmp_path), TOKENS)
    assert found.shape == (2, 4, 3)
    np.testing.assert_array_equal(found, expected)
