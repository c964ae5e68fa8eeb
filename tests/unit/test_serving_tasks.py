"""Each task: requests good and bad, encoding alone and in batches, answers in the toolkits' shapes."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_artifacts import LABELS, VOCABULARY, npy, png, wav, write_artifact

from serving.config import ServingConfig
from serving.errors import ModelError, RequestError
from serving.tasks import TASKS, audio_classification, image_classification, tensor, text_classification
from serving.tasks.classification import probabilities
from serving.tasks.request import MAX_SAMPLES, Request


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ServingConfig]:
    root = tmp_path_factory.mktemp("artifacts")
    return {task: ServingConfig.read(write_artifact(root / task, task, code=False)) for task in TASKS}


def variant(task: str, **section: Any) -> ServingConfig:
    key = task.partition("-")[0]
    return ServingConfig.from_dict({"name": "n", "task": task, "labels": LABELS, key: section}, Path())


def dumps(inputs: Any, **parameters: Any) -> bytes:
    return json.dumps({"inputs": inputs} | ({"parameters": parameters} if parameters else {})).encode()


def refused(task: str, config: ServingConfig, body: bytes, content_type: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        TASKS[task].decode_request(body, content_type, config)
    return caught.value


SAMPLES: dict[str, list[Any]] = {
    "text-classification": ["goal", "market shares and a match", "goal goal goal goal goal goal goal goal goal goal"],
    "image-classification": [
        np.arange(16, dtype=np.uint8).reshape(4, 4),
        np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
        np.arange(200, dtype=np.uint8).reshape(10, 20),
    ],
    "audio-classification": [np.ones(2000, np.float32), np.ones(10, np.float32), np.ones(4000, np.float32) / 2],
    "object-detection": [
        np.arange(16, dtype=np.uint8).reshape(4, 4),
        np.arange(200, dtype=np.uint8).reshape(10, 20),
    ],
    "tabular": [
        {"kind": "small", "length": 1.5, "count": 3},
        {"kind": None, "length": None, "count": 4},
        {"kind": "large", "length": float("nan"), "count": "5"},
    ],
    "tensor": [{"x": np.array([1, 2, 3], np.float32)}, {"x": np.array([4, 5, 6], np.float32)}],
    "speech-recognition": [np.ones(2000, np.float32), np.ones(10, np.float32), np.ones(4000, np.float32) / 2],
    "text-embedding": ["goal", "market shares and a match", "goal goal goal goal goal goal goal goal goal goal"],
    "text-generation": ["goal", "market shares and a match", "goal goal goal goal goal goal goal goal goal goal"],
    "token-classification": ["goal", "market shares and a match", "goal goal goal goal goal goal goal goal goal goal"],
}


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_is_encoded_as_its_samples_are_alone(task: str, configs: dict[str, ServingConfig]) -> None:
    config, samples = configs[task], SAMPLES[task]
    batch = TASKS[task].encode(samples, config)
    assert set(batch) == set(TASKS[task].input_axes(config))
    for index, sample in enumerate(samples):
        for name, array in TASKS[task].encode([sample], config).items():
            row = batch[name][index]
            assert array.dtype == batch[name].dtype
            if "input_ids" in batch:  # padded to the longest of its batch
                assert not row[array.shape[1] :].any()
                row = row[: array.shape[1]]
            np.testing.assert_array_equal(array[0], row)


@pytest.mark.parametrize("task", TASKS)
def test_a_wrong_content_type_names_those_accepted(task: str, configs: dict[str, ServingConfig]) -> None:
    error = refused(task, configs[task], b"", "application/zip")
    assert error.status_code == 415
    assert all(kind in error.message for kind in TASKS[task].CONTENT_TYPES)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "must be a JSON object"),
        (b'{"inputs": "x", "input": 1}', "unknown key 'input'"),
        (b'{"inputs": "x", "parameters": 3}', "must be an object"),
        (b'{"inputs": "x", "parameters": {"colour": 1}}', "unknown parameter 'colour'"),
    ],
)
def test_a_malformed_json_body_is_a_400(
    task: str, body: bytes, message: str, configs: dict[str, ServingConfig]
) -> None:
    error = refused(task, configs[task], body, "application/json; charset=utf-8")
    assert error.status_code == 400
    assert message in error.message


@pytest.mark.parametrize("task", ["text-classification", "image-classification", "audio-classification"])
@pytest.mark.parametrize("top_k", [0, True, "all", 1.5])
def test_a_top_k_that_is_no_count_is_a_400(task: str, top_k: Any, configs: dict[str, ServingConfig]) -> None:
    error = refused(task, configs[task], dumps("x", top_k=top_k), "application/json")
    assert "top_k must be an integer of at least 1" in error.message


class TestText:
    TASK = "text-classification"

    def test_ids_are_cut_and_padded_to_the_longest_only(self, configs: dict[str, ServingConfig]) -> None:
        arrays = text_classification.encode(["goal match", "shares", "goal " * 50], configs[self.TASK])
        assert arrays["input_ids"].dtype == arrays["attention_mask"].dtype == np.int64
        assert arrays["input_ids"].shape == (3, 8)
        assert arrays["input_ids"][0].tolist() == [VOCABULARY["goal"], VOCABULARY["match"], 0, 0, 0, 0, 0, 0]
        assert arrays["attention_mask"].sum(axis=1).tolist() == [2, 1, 8]
        assert text_classification.encode(["goal match"], configs[self.TASK])["input_ids"].shape == (1, 2)

    @pytest.mark.parametrize(
        ("body", "kind", "samples", "single"),
        [
            (dumps("a"), "application/json", ["a"], True),
            (dumps(["a", "b"]), "application/json", ["a", "b"], False),
            ("größer".encode(), "text/plain; charset=utf-8", ["größer"], True),
        ],
    )
    def test_good_requests(
        self, body: bytes, kind: str, samples: list[str], single: bool, configs: dict[str, ServingConfig]
    ) -> None:
        request = text_classification.decode_request(body, kind, configs[self.TASK])
        assert (request.samples, request.single) == (samples, single)

    @pytest.mark.parametrize(
        ("body", "kind", "message"),
        [
            (dumps([]), "application/json", "must not be empty"),
            (dumps(["a", 1]), "application/json", "a string or a list of strings"),
            (dumps({"text": "a"}), "application/json", "a string or a list of strings"),
            (dumps(["a"] * (MAX_SAMPLES + 1)), "application/json", "are too many"),
            (b"caf\xe9", "text/plain", "not UTF-8 (byte 3)"),
        ],
    )
    def test_bad_requests(self, body: bytes, kind: str, message: str, configs: dict[str, ServingConfig]) -> None:
        assert message in refused(self.TASK, configs[self.TASK], body, kind).message

    def test_a_text_without_tokens_is_refused(self, configs: dict[str, ServingConfig]) -> None:
        with pytest.raises(RequestError, match="no tokens"):
            text_classification.encode(["   "], configs[self.TASK])

    @pytest.mark.parametrize(
        ("single", "parameters", "labels"),
        [
            (True, {}, ["business"]),
            (True, {"top_k": 1}, ["business"]),
            (True, {"top_k": None}, ["business", "sport"]),
            (True, {"top_k": 9}, ["business", "sport"]),
            (False, {}, ["business", "sport"]),
            (False, {"top_k": 2}, [["business", "sport"], ["sport", "business"]]),
            (False, {"top_k": 1}, [["business"], ["sport"]]),
        ],
    )
    def test_answers_have_the_toolkits_shapes(
        self, single: bool, parameters: dict[str, Any], labels: list[Any], configs: dict[str, ServingConfig]
    ) -> None:
        logits = np.array([[0, 2], [3, 0]], np.float32)[: 1 if single else 2]
        request = Request(["x"] * len(logits), single, parameters)
        answer = text_classification.answer({"logits": logits}, request, configs[self.TASK])
        found = [[one["label"] for one in row] if isinstance(row, list) else row["label"] for row in answer]
        assert found == labels
        assert json.dumps(answer)

    def test_a_file_that_is_no_tokenizer_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "t.json").write_text("{}")
        with pytest.raises(ModelError, match=r"t\.json: is not a tokenizer\.json"):
            text_classification.encode(["a"], variant(self.TASK, tokenizer=str(tmp_path / "t.json")))


class TestClassification:
    def test_softmax_is_float32_and_stable(self) -> None:
        scores = probabilities(np.array([[1000, 999], [-1e30, 1e30], [0, 0]], np.float64))
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, [[0.7310586, 0.26894143], [0, 1], [0.5, 0.5]], rtol=1e-6)

    @pytest.mark.parametrize("logits", [np.zeros((1, 3)), np.zeros(2), np.array([[np.nan, 0]])])
    def test_logits_that_cannot_be_ranked_are_the_models_fault(
        self, logits: np.ndarray, configs: dict[str, ServingConfig]
    ) -> None:
        with pytest.raises(ModelError, match="logits"):
            text_classification.postprocess({"logits": logits}, configs["text-classification"])


def jpeg(array: np.ndarray, **options: Any) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", quality=100, **options)
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


GREY = np.arange(0, 160, 10, dtype=np.uint8).reshape(4, 4)
COLOUR = np.stack([GREY, GREY + 40, GREY + 80], axis=2)


class TestImage:
    TASK = "image-classification"

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (png(GREY), "image/png"),
            (png(GREY), "application/x-image"),
            (png(GREY), "IMAGE/PNG"),
            (dumps(base64.b64encode(png(GREY)).decode()), "application/json"),
            (dumps("data:image/png;base64," + base64.b64encode(png(GREY)).decode()), "application/json"),
            (dumps(GREY.tolist()), "application/json"),
            (npy(GREY), "application/x-npy"),
        ],
    )
    def test_every_form_of_a_picture_gives_the_same_pixels(
        self, body: bytes, kind: str, configs: dict[str, ServingConfig]
    ) -> None:
        request = image_classification.decode_request(body, kind, configs[self.TASK])
        assert request.single
        np.testing.assert_array_equal(request.samples[0], GREY)
        pixels = image_classification.encode(request.samples, configs[self.TASK])["pixels"]
        assert (pixels.dtype, pixels.shape) == (np.float32, (1, 1, 4, 4))
        np.testing.assert_allclose(pixels[0, 0], (GREY / 255 - 0.5) / 0.25, rtol=1e-5)

    def test_colour_channels_are_normalised_each_and_come_first(self) -> None:
        config = variant(self.TASK, size=[4, 4], mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7])
        request = image_classification.decode_request(png(COLOUR), "image/png", config)
        pixels = image_classification.encode(request.samples, config)["pixels"]
        expected = (COLOUR / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
        np.testing.assert_allclose(pixels[0], expected.transpose(2, 0, 1), rtol=1e-4, atol=1e-6)

    def test_colour_becomes_grey_grey_becomes_colour_and_other_sizes_are_resized(
        self, configs: dict[str, ServingConfig]
    ) -> None:
        flat = np.full((9, 7, 3), 100, np.uint8)
        grey = image_classification.encode([flat], configs[self.TASK])["pixels"]
        np.testing.assert_allclose(grey, (100 / 255 - 0.5) / 0.25, rtol=1e-5)
        colour = image_classification.encode([flat[..., 0]], variant(self.TASK, size=[5, 6]))["pixels"]
        assert colour.shape == (1, 3, 5, 6)
        np.testing.assert_allclose(colour, 100 / 255, rtol=1e-5)

    def test_a_jpeg_is_turned_upright_by_its_orientation(self) -> None:
        from PIL import Image

        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: rotate 90° clockwise
        wide = np.zeros((8, 16), np.uint8)
        wide[:, 8:] = 250
        config = variant(self.TASK, size=[16, 8], mode="L")
        (sample,) = image_classification.decode_request(jpeg(wide, exif=exif), "image/jpeg", config).samples
        assert sample.shape == (16, 8)
        assert sample[:6].max() < 30
        assert sample[10:].min() > 220

    def test_sixteen_bit_grey_is_scaled_and_not_clipped(self, configs: dict[str, ServingConfig]) -> None:
        body = png(np.full((4, 4), 100 * 256, np.uint16))
        (sample,) = image_classification.decode_request(body, "image/png", configs[self.TASK]).samples
        assert (sample.dtype, sample.max()) == (np.uint8, 100)

    def test_lists_of_pictures_are_batches(self, configs: dict[str, ServingConfig]) -> None:
        encoded = base64.b64encode(png(GREY)).decode()
        for body, kind in [
            (dumps([encoded, encoded]), "application/json"),
            (dumps([GREY.tolist()] * 2), "application/json"),
            (npy(np.stack([GREY, GREY])), "application/x-npy"),
        ]:
            request = image_classification.decode_request(body, kind, configs[self.TASK])
            assert (len(request.samples), request.single) == (2, False)

    @pytest.mark.parametrize(
        ("body", "kind", "message"),
        [
            (b"", "image/png", "not a PNG or JPEG"),
            (b"GIF89a\x01\0\x01\0\x80\0\0", "image/png", "not a PNG or JPEG"),
            (png(GREY)[:-30], "image/png", "damaged"),
            (jpeg(np.zeros((64, 64), np.uint8))[:300], "image/jpeg", "damaged"),
            (bomb(8000, 8000), "image/png", "32000000 pixels in total"),
            (bomb(30000, 30000), "image/png", "32000000 pixels in total"),
            (
                dumps([base64.b64encode(png(np.zeros((4500, 4500), np.uint8))).decode()] * 2),
                "application/json",
                "32000000 pixels in total",
            ),
            (dumps("not base64!"), "application/json", "not base64"),
            (dumps(["AA==", 1]), "application/json", "integers from 0 to 255"),
            (dumps([[0, 256]]), "application/json", "integers from 0 to 255"),
            (dumps([[0.5]]), "application/json", "integers from 0 to 255"),
            (dumps([[1, 2], [3]]), "application/json", "rows differ in length"),
            (dumps([1, 2]), "application/json", "must be (height, width)"),
            (npy(GREY.astype(np.float32)), "application/x-npy", "must be uint8, not float32"),
            (npy(COLOUR[None]), "application/x-npy", "not of shape (1, 4, 4, 3)"),
            (npy(np.zeros((0, 4), np.uint8)), "application/x-npy", "not of shape (0, 4)"),
            (b"\x93NUMPY\x01\x00", "application/x-npy", "not an .npy array"),
            (npy(GREY)[:-1], "application/x-npy", "does not fit its data"),
        ],
    )
    def test_bad_requests(self, body: bytes, kind: str, message: str, configs: dict[str, ServingConfig]) -> None:
        error = refused(self.TASK, configs[self.TASK], body, kind)
        assert error.status_code == 400
        assert message in error.message

    def test_pickled_arrays_are_never_loaded(self, configs: dict[str, ServingConfig]) -> None:
        stream = io.BytesIO()
        np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        error = refused(self.TASK, configs[self.TASK], stream.getvalue(), "application/x-npy")
        assert error.status_code == 400


class TestAudio:
    TASK = "audio-classification"
    TONE = np.sin(np.arange(3000) / 9) * 0.5

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (wav(TONE, 8000), "audio/wav"),
            (wav(TONE, 8000), "audio/x-wav"),
            (dumps(base64.b64encode(wav(TONE, 8000)).decode()), "application/json"),
            (npy(TONE.astype(np.float32)), "application/x-npy"),
        ],
    )
    def test_every_form_of_a_clip_gives_the_same_waveform(
        self, body: bytes, kind: str, configs: dict[str, ServingConfig]
    ) -> None:
        request = audio_classification.decode_request(body, kind, configs[self.TASK])
        assert request.single
        waveform = audio_classification.encode(request.samples, configs[self.TASK])["waveform"]
        assert (waveform.dtype, waveform.shape) == (np.float32, (1, 2000))
        np.testing.assert_allclose(waveform[0], self.TONE[:2000], atol=1e-4)

    def test_a_short_clip_is_padded_with_silence_at_its_end(self, configs: dict[str, ServingConfig]) -> None:
        waveform = audio_classification.encode([np.ones(3, np.float32)], configs[self.TASK])["waveform"]
        assert waveform[0, :3].tolist() == [1, 1, 1]
        assert not waveform[0, 3:].any()

    def test_log_mel_features_have_the_declared_shape(self) -> None:
        config = variant(self.TASK, sample_rate=8000, seconds=0.5, features="log_mel", mels=20, window=256, hop=128)
        features = audio_classification.encode([self.TONE.astype(np.float32)] * 2, config)["features"]
        assert features.shape == (2, 20, 1 + (4000 - 256) // 128)
        assert audio_classification.input_axes(config) == {"features": {0: "batch"}}

    @pytest.mark.parametrize(
        ("body", "kind", "message"),
        [
            (b"", "audio/wav", "not a WAV file"),
            (dumps([]), "application/json", "must not be empty"),
            (dumps([1]), "application/json", "WAV file in base64"),
            (dumps("%%"), "application/json", "inputs[0] is not base64"),
            (npy(np.zeros(5)), "application/x-npy", "must be float32 (time,) or (batch, time), not float64"),
            (npy(np.full(5, np.inf, np.float32)), "application/x-npy", "not finite"),
        ],
    )
    def test_bad_requests(self, body: bytes, kind: str, message: str, configs: dict[str, ServingConfig]) -> None:
        assert message in refused(self.TASK, configs[self.TASK], body, kind).message


TWO = variant(
    "tensor",
    inputs={"ids": {"dtype": "int32", "shape": [-1]}, "flags": {"dtype": "bool", "shape": []}},
    outputs=["a", "b"],
)


class TestTensor:
    TASK = "tensor"

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (dumps([[1, 2, 3], [4, 5, 6]]), "application/json"),
            (dumps({"x": [[1, 2, 3], [4.0, 5, 6]]}), "application/json"),
            (npy(np.array([[1, 2, 3], [4, 5, 6]], np.float32)), "application/x-npy"),
            (npy(np.array([[1, 2, 3], [4, 5, 6]], ">f4")), "application/x-npy"),
        ],
    )
    def test_every_form_gives_the_same_rows(self, body: bytes, kind: str, configs: dict[str, ServingConfig]) -> None:
        request = tensor.decode_request(body, kind, configs[self.TASK])
        array = tensor.encode(request.samples, configs[self.TASK])["x"]
        assert array.dtype == np.float32
        assert array.tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_inputs_of_several_dtypes_and_free_axes(self) -> None:
        request = tensor.decode_request(dumps({"ids": [[1, 2], [3, 4]], "flags": [True, False]}), None, TWO)
        arrays = tensor.encode(request.samples, TWO)
        assert {name: (str(array.dtype), array.shape) for name, array in arrays.items()} == {
            "ids": ("int32", (2, 2)),
            "flags": ("bool", (2,)),
        }
        assert tensor.input_axes(TWO) == {"ids": {0: "batch", 1: "ids_1"}, "flags": {0: "batch"}}

    @pytest.mark.parametrize(
        ("config", "inputs", "message"),
        [
            (None, [[1, 2]], "x: expected shape (batch, 3), given (1, 2)"),
            (None, [1, 2, 3], "x: expected shape (batch, 3), given (3,)"),
            (None, None, "x: expected float32, given other values"),
            (None, 5, "x: expected shape (batch, 3), given ()"),
            (None, [], "x: expected shape (batch, 3), given (0,)"),
            (None, [[1, 2, 3], [4, 5]], "x: must be a full array"),
            (None, [["a", "b", "c"]], "x: expected float32, given other values"),
            (None, [[True, False, True]], "x: expected float32, given booleans"),
            (None, [[1e39, 0, 0]], "x: expected float32, given numbers beyond its range"),
            (None, {"y": [[1, 2, 3]]}, "inputs must have the keys x, not y"),
            (None, {}, "inputs must have the keys x, not none"),
            (TWO, [[1]], "inputs must be an object with the keys ids, flags"),
            (TWO, {"ids": [[1.5]], "flags": [True]}, "ids: expected int32, given floats"),
            (TWO, {"ids": [[2**31]], "flags": [True]}, "ids: expected int32, given numbers beyond"),
            (TWO, {"ids": [[1]], "flags": [1]}, "flags: expected bool, given integers"),
            (TWO, {"ids": [[1], [2]], "flags": [True]}, "differ in their first axis"),
            (TWO, {"ids": [[]], "flags": [True]}, "given the empty (1, 0)"),
        ],
    )
    def test_bad_arrays_say_what_was_expected_and_given(
        self, config: ServingConfig | None, inputs: Any, message: str, configs: dict[str, ServingConfig]
    ) -> None:
        error = refused(self.TASK, config or configs[self.TASK], dumps(inputs), "application/json")
        assert error.status_code == 400
        assert message in error.message

    def test_an_npy_of_another_dtype_is_refused(self, configs: dict[str, ServingConfig]) -> None:
        error = refused(self.TASK, configs[self.TASK], npy(np.ones((1, 3))), "application/x-npy")
        assert error.message == "x: expected float32, given float64"

    def test_parameters_are_refused(self, configs: dict[str, ServingConfig]) -> None:
        assert (
            "top_k" in refused(self.TASK, configs[self.TASK], dumps([[1, 2, 3]], top_k=1), "application/json").message
        )

    def test_outputs_are_split_by_sample(self) -> None:
        answers = tensor.postprocess({"a": np.arange(2), "b": np.arange(4).reshape(2, 2)}, TWO)
        assert [{name: array.tolist() for name, array in one.items()} for one in answers] == [
            {"a": 0, "b": [0, 1]},
            {"a": 1, "b": [2, 3]},
        ]

    def test_labels_name_the_class_of_each_row_beside_the_outputs(self) -> None:
        config = replace(TWO, labels=("no", "yes"))
        outputs = {"a": np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), "b": np.arange(3)}
        answer = tensor.answer(outputs, Request([], single=False), config)
        assert answer["labels"] == ["no", "yes", "no"]
        assert answer["outputs"] is outputs
        assert "labels" not in tensor.answer(outputs, Request([], single=False), replace(TWO, labels=()))

    def test_labels_that_the_first_output_does_not_have_are_told(self) -> None:
        config = replace(TWO, labels=("no", "maybe", "yes"))
        for scores in (np.ones((2, 2)), np.ones(3)):
            with pytest.raises(ModelError, match="but there are 3 labels"):
                tensor.answer({"a": scores, "b": scores}, Request([], single=False), config)
