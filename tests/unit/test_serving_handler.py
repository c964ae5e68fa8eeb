"""The handler's four functions on real artifacts, and a program completed from an artifact's own code."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import orjson
import pytest
from serving_artifacts import MATRIX, wav, write_artifact

from serving import handler, program
from serving.errors import ModelError, RequestError
from serving.program import Call


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact's code extends the path and is imported as `inference`."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setitem(sys.modules, "inference", ModuleType("inference"))


def context(directory: Path) -> SimpleNamespace:
    return SimpleNamespace(system_properties={"model_dir": str(directory)})


def respond(directory: Path, body: bytes, content_type: str, accept: str = "application/json") -> bytes:
    model = handler.model_fn(str(directory))
    request = handler.input_fn(body, content_type, context(directory))
    return handler.output_fn(handler.predict_fn(request, model), accept)


def test_text_is_classified_by_the_words_it_holds(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "text-classification", code=False)
    (answer,) = orjson.loads(respond(directory, b'{"inputs": "goal match"}', "application/json"))
    logits = np.array([3, -1])
    assert answer["label"] == "sport"
    assert answer["score"] == pytest.approx(np.exp(3) / np.exp(logits).sum(), rel=1e-6)


def test_a_text_gets_the_same_answer_alone_as_beside_a_longer_one(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "text-classification", code=False)
    (alone,) = orjson.loads(respond(directory, b'{"inputs": "market"}', "application/json"))
    batch = orjson.loads(respond(directory, b'{"inputs": ["goal goal match shares", "market"]}', "application/json"))
    assert batch[1] == alone


def test_sound_is_classified_from_its_samples(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "audio-classification", code=False)
    answer = orjson.loads(respond(directory, wav(np.full(2000, -0.5), 8000), "audio/wav"))
    assert [one["label"] for one in answer] == ["business", "sport"]


def test_arrays_come_back_as_json_or_as_npy(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "tensor", code=False)
    rows = [[1, 2, 3], [4, 5, 6]]
    body = json.dumps({"inputs": rows}).encode()
    expected = (np.array(rows) @ MATRIX).tolist()
    assert orjson.loads(respond(directory, body, "application/json")) == {"outputs": {"output": expected}}
    stream = tmp_path / "answer.npy"
    stream.write_bytes(respond(directory, body, "application/json", "application/x-npy"))
    assert np.load(stream, allow_pickle=False).tolist() == expected


def test_npy_is_refused_for_an_answer_that_is_not_one_array() -> None:
    for prediction in ([{"label": "a"}], {"outputs": {"a": np.ones(1), "b": np.ones(1)}}):
        with pytest.raises(RequestError, match=r"holds (one array|arrays)") as caught:
            handler.output_fn(prediction, "application/x-npy")
        assert caught.value.status_code == 406


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("text/html, application/x-npy;q=0.9, */*", "application/x-npy"),
    ],
)
def test_the_first_media_type_that_can_be_given_is_chosen(accept: str | None, chosen: str) -> None:
    assert handler.negotiate(accept) == chosen


def test_an_answer_that_cannot_be_given_is_a_406() -> None:
    with pytest.raises(RequestError, match="not image/png") as caught:
        handler.negotiate("image/png")
    assert caught.value.status_code == 406


def reseal(directory: Path) -> None:
    values = json.loads((directory / "slipway.json").read_text())
    values["files"]["model.onnx"] = hashlib.sha256((directory / "model.onnx").read_bytes()).hexdigest()
    (directory / "slipway.json").write_text(json.dumps(values))


def test_a_model_that_onnx_runtime_cannot_load_is_named(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "tensor", code=False)
    (directory / "model.onnx").write_bytes(b"not a model")
    reseal(directory)
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be loaded by ONNX Runtime"):
        handler.model_fn(str(directory))


def test_a_model_with_other_inputs_than_the_tasks_is_named_with_both(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "artifact", "image-classification", code=False)
    other = write_artifact(tmp_path / "other", "tensor", code=False)
    (directory / "model.onnx").write_bytes((other / "model.onnx").read_bytes())
    reseal(directory)
    with pytest.raises(ModelError, match="its inputs are x, but the task image-classification needs pixels"):
        handler.model_fn(str(directory))


def test_threads_are_the_cores_of_this_process_or_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= handler.thread_count() <= len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert handler.thread_count() == 1
    monkeypatch.setenv("SLIPWAY_THREADS", "3")
    assert handler.thread_count() == 3
    monkeypatch.setenv("SLIPWAY_THREADS", "many")
    with pytest.raises(ModelError, match="SLIPWAY_THREADS must be an integer"):
        handler.thread_count()


def test_errors_carry_an_ascii_reason_phrase_whatever_their_message_says() -> None:
    # A phrase outside Latin-1 makes TorchServe drop its worker.
    error = RequestError(415, "größer …")
    assert (error.status_code, error.phrase, str(error)) == (415, "Unsupported Media Type", "größer …")


def own_code(directory: Path, source: str) -> Path:
    write_artifact(directory, "tensor", code=False)
    (directory / "code").mkdir()
    (directory / "code/inference.py").write_text(source)
    return directory


def test_functions_that_an_artifacts_code_lacks_are_the_handlers(tmp_path: Path) -> None:
    source = "from serving import handler\ndef predict_fn(data, model):\n    return {'rows': len(data.samples)}\n"
    loaded = program.load(own_code(tmp_path / "artifact", source))
    assert loaded.respond(Call(b'{"inputs": [[1, 2, 3]]}', None, None)) == ([b'{"rows":1}'], "application/json")


def test_own_code_may_take_the_context_and_answer_in_any_media_type(tmp_path: Path) -> None:
    source = (
        "def model_fn(model_dir, context):\n    return context.system_properties['model_dir']\n"
        "def input_fn(body, content_type):\n    return body.decode() + content_type\n"
        "def predict_fn(data, model):\n    return data + model\n"
        "def output_fn(prediction, accept):\n    return prediction, accept\n"
    )
    directory = own_code(tmp_path / "artifact", source)
    answer = program.load(directory).respond(Call(b"a", "b/c", "text/csv"))
    assert answer == ([f"ab/c{directory}".encode()], "text/csv")


def test_a_transform_function_replaces_the_other_three(tmp_path: Path) -> None:
    source = "def transform_fn(model, body, content_type, accept):\n    return body.upper()\n"
    loaded = program.load(own_code(tmp_path / "artifact", source))
    assert loaded.respond(Call(b"a", None, "*/*")) == ([b"A"], "application/json")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_like_this", r"inference\.py: cannot be imported: ModuleNotFoundError"),
        ("def model_fn(a):\n    raise OSError('no weights')", "model_fn failed: OSError: no weights"),
        ("def input_fn(a):\n    pass", "input_fn takes 1 arguments; it must take 2"),
    ],
)
def test_code_that_cannot_serve_is_the_reason(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        program.load(own_code(tmp_path / "artifact", source))


def test_a_folder_that_is_no_artifact_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds neither slipway\.json nor code/inference\.py"):
        program.load(tmp_path)


def test_what_awss_toolkits_import_needs_neither_the_servers_library_nor_what_the_task_does_not_use() -> None:
    code = (
        "import sys; sys.modules.update(httptools=None, uvloop=None); import serving.handler;"
        "print(sorted({'PIL', 'soxr', 'tokenizers', 'transformers', 'asyncio', 'onnxruntime'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
