"""`slipway.json` parsed: what a model is and how its inputs are prepared.

Apart and standard library alone, since the build constructs the same object in memory, so that what is measured is
prepared exactly like what is served.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from serving.errors import ModelError

FORMAT = 1
FILE = "slipway.json"
ENCODER = "encoder.onnx"
"""Beside the model's own file, where it is the decoder of two graphs."""
ANSWER_KEYS = ("generated_text", "translation_text", "summary_text")
DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")


@dataclass(frozen=True)
class Text:
    tokenizer: str
    """Path of a `tokenizer.json`, relative to the configuration's directory."""
    max_length: int = 128


@dataclass(frozen=True)
class Image:
    size: tuple[int, int]
    """Height and width, pixels."""
    mode: str = "RGB"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def channels(self) -> int:
        return 1 if self.mode == "L" else 3


@dataclass(frozen=True)
class Detection:
    score_threshold: float = 0.5
    iou_threshold: float = 0.5
    max_detections: int = 100
    activation: str = "sigmoid"
    nms: bool = True


@dataclass(frozen=True)
class Generation:
    """How an encoder–decoder model writes its answer, by the names that `transformers` has for it."""

    max_new_tokens: int = 64
    """Also the most that a request may ask for."""
    min_new_tokens: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    """True, False or `never`."""
    no_repeat_ngram_size: int = 0
    decoder_start_token_id: int = 0
    pad_token_id: int = 0
    eos_token_ids: tuple[int, ...] = (1,)
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    suppressed_tokens: tuple[int, ...] = ()
    prefix: str = ""
    tokenizer: str | None = None
    """Of the answer, where it is not that of the text; relative to the configuration's directory."""
    answer_key: str = "generated_text"


@dataclass(frozen=True)
class Audio:
    sample_rate: int = 16000
    seconds: float = 1.0
    features: str = "waveform"
    mels: int = 40
    window: int = 400
    hop: int = 160

    @property
    def length(self) -> int:
        """Samples that the model takes."""
        return max(1, round(self.seconds * self.sample_rate))


@dataclass(frozen=True)
class Ctc:
    """Which symbols of a CTC model stand for no text, or for a space."""

    blank: int = 0
    """Index in `labels`."""
    word_delimiter: str = "|"


@dataclass(frozen=True)
class Column:
    name: str
    type: str = "number"
    """`number`, `integer` or `category`."""
    categories: tuple[str, ...] = ()
    """Empty: any text is one."""
    missing: float | int | str | None = None
    """What the model gets where a row has no value (`nan`: that number); None refuses it."""


@dataclass(frozen=True)
class Tabular:
    columns: tuple[Column, ...]
    inputs: str = "features"
    """`features`: one matrix; `columns`: one input for each."""
    activation: str = "none"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True)
class TensorInput:
    shape: tuple[int, ...]
    """Of one sample, without the batch; -1 is any length."""
    dtype: str = "float32"


@dataclass(frozen=True)
class Tensor:
    inputs: dict[str, TensorInput]
    outputs: tuple[str, ...] = ("output",)


@dataclass(frozen=True)
class ServingConfig:
    """One model's configuration; exactly the sections of its task are set.

    `directory` is where `model` and asset paths start; `files` maps relative paths to SHA-256 digests.
    """

    name: str
    task: str
    directory: Path
    labels: tuple[str, ...] = ()
    model: str = "model.onnx"
    files: dict[str, str] = field(default_factory=dict)
    text: Text | None = None
    image: Image | None = None
    audio: Audio | None = None
    ctc: Ctc | None = None
    tensor: Tensor | None = None
    generation: Generation | None = None
    detection: Detection | None = None
    tabular: Tabular | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], directory: Path) -> ServingConfig:
        """Checks and converts the content of `slipway.json`. Raises ModelError, naming the key.

        `format`, `model`, `labels` and `files` may be missing, as in memory during a build.
        """
        root = _Section(values, "")
        if root.get("format", int, FORMAT) != FORMAT:
            raise ModelError(f"{FILE}: format {values['format']!r} is not {FORMAT}, the one this version serves")
        task = root.get("task", str)
        if task not in SECTIONS:
            raise ModelError(f"{FILE}: task: {task!r} is not one of {', '.join(SECTIONS)}")
        # The first is the task's own; what may follow it has defaults throughout.
        sections = {
            key: parse(_Section(root.get(key, Mapping, {} if position else None), key))
            for position, (key, parse) in enumerate(SECTIONS[task].items())
        }
        files = root.get("files", Mapping, {})
        for path, digest in files.items():
            _relative(path, "files")
            if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ModelError(f"{FILE}: files.{path}: must be a SHA-256 in lower-case hexadecimal")
        return cls(
            name=root.get("name", str),
            task=task,
            directory=Path(directory),
            labels=root.items("labels", str, ()),
            model=_relative(root.get("model", str, "model.onnx"), "model"),
            files=dict(files),
            **sections,
        )

    @classmethod
    def read(cls, directory: Path) -> ServingConfig:
        """Reads `slipway.json` of an unpacked artifact. Raises ModelError."""
        path = Path(directory) / FILE
        try:
            values = json.loads(path.read_bytes())
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}); is this an unpacked model.tar.gz?") from None
        except ValueError as error:
            raise ModelError(f"{path}: is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ModelError(f"{path}: must hold a JSON object")
        return cls.from_dict(values, Path(directory))

    def path(self, relative: str) -> Path:
        """A file of the artifact (or, during a build, an absolute path kept as it is)."""
        return self.directory / relative

    def label(self, index: int) -> str:
        """Name of a class; `LABEL_n`, the toolkits' convention, where the spec names none."""
        return self.labels[index] if self.labels else f"LABEL_{index}"

    def verify_files(self) -> None:
        """Compares every file with its digest; the model's own must be there. Raises ModelError."""
        for needed in (self.model, *((ENCODER,) if self.generation else ())):
            if needed not in self.files:
                raise ModelError(f"{FILE}: files: has no digest of {needed}, so it cannot be trusted")
        for relative, expected in self.files.items():
            path = self.path(relative)
            digest = hashlib.sha256()
            try:
                with path.open("rb") as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
            except OSError as error:
                raise ModelError(f"{path}: cannot be read ({error.strerror}), though {FILE} lists it") from None
            if digest.hexdigest() != expected:
                raise ModelError(f"{path}: is damaged: its SHA-256 is not the one in {FILE}")


class _Section:
    """One JSON object with its key, to read typed values from."""

    def __init__(self, values: Mapping[str, Any], key: str) -> None:
        self.values = values
        self.prefix = f"{key}." if key else ""

    def get(self, key: str, kind: Any, default: Any = None) -> Any:
        if key not in self.values:
            if default is None:
                raise ModelError(f"{FILE}: {self.prefix}{key}: is missing")
            return default
        value = self.values[key]
        if not _is(value, kind):
            raise ModelError(f"{FILE}: {self.prefix}{key}: must be {_WORDS[kind]}, not {value!r:.60}")
        return value

    def optional(self, key: str, kind: Any) -> Any:
        return None if self.values.get(key) is None else self.get(key, kind)

    def positive(self, key: str, kind: Any, default: Any) -> Any:
        value = self.get(key, kind, default)
        if not value > 0:
            raise ModelError(f"{FILE}: {self.prefix}{key}: must be above 0, not {value}")
        return value

    def fraction(self, key: str, default: float) -> float:
        value: float = self.get(key, float, default)
        if not 0 <= value <= 1:
            raise ModelError(f"{FILE}: {self.prefix}{key}: must be from 0 to 1, not {value}")
        return float(value)

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        value: str = self.get(key, str, default)
        if value not in allowed:
            raise ModelError(f"{FILE}: {self.prefix}{key}: {value!r} is not one of {', '.join(allowed)}")
        return value

    def items(self, key: str, kind: Any, default: Any = None) -> tuple[Any, ...]:
        values = self.get(key, list, default)
        for value in values:
            if not _is(value, kind):
                raise ModelError(f"{FILE}: {self.prefix}{key}: each must be {_WORDS[kind]}, not {value!r:.60}")
        return tuple(float(value) for value in values) if kind is float else tuple(values)


_WORDS: dict[Any, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "a list",
    Mapping: "an object",
}


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, (int, float))
    if kind is list:  # tuples too: the build passes a spec's frozen sections
        return isinstance(value, (list, tuple))
    return isinstance(value, kind)


def _relative(path: str, key: str) -> str:
    if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ModelError(f"{FILE}: {key}: {path!r} must be a path inside the artifact")
    return path


def _text(section: _Section) -> Text:
    return Text(tokenizer=section.get("tokenizer", str), max_length=section.positive("max_length", int, 128))


def _image(section: _Section) -> Image:
    image = Image(
        size=section.items("size", int),
        mode=section.choice("mode", ("L", "RGB"), "RGB"),
        mean=section.items("mean", float, (0.0,)),
        std=section.items("std", float, (1.0,)),
    )
    if len(image.size) != 2 or min(image.size) < 1:
        raise ModelError(f"{FILE}: image.size: must be height and width, both above 0")
    for key, values in (("mean", image.mean), ("std", image.std)):
        if len(values) not in (1, image.channels):
            raise ModelError(f"{FILE}: image.{key}: must have 1 or {image.channels} values, not {len(values)}")
    if 0.0 in image.std:
        raise ModelError(f"{FILE}: image.std: must not be 0")
    return image


def _detection(section: _Section) -> Detection:
    return Detection(
        score_threshold=section.fraction("score_threshold", 0.5),
        iou_threshold=section.fraction("iou_threshold", 0.5),
        max_detections=section.positive("max_detections", int, 100),
        activation=section.choice("activation", ("sigmoid", "softmax"), "sigmoid"),
        nms=section.get("nms", bool, True),
    )


def _generation(section: _Section) -> Generation:
    ends = section.items("eos_token_ids", int, (1,))
    early = section.values.get("early_stopping", False)
    if early not in (True, False, "never") or not ends:
        raise ModelError(f"{FILE}: generation: needs eos_token_ids, and an early_stopping of true, false or never")
    return Generation(
        max_new_tokens=section.positive("max_new_tokens", int, 64),
        min_new_tokens=section.get("min_new_tokens", int, 0),
        num_beams=section.positive("num_beams", int, 1),
        length_penalty=float(section.get("length_penalty", float, 1.0)),
        early_stopping=early,
        no_repeat_ngram_size=section.get("no_repeat_ngram_size", int, 0),
        decoder_start_token_id=section.get("decoder_start_token_id", int, 0),
        pad_token_id=section.get("pad_token_id", int, 0),
        eos_token_ids=ends,
        forced_bos_token_id=section.optional("forced_bos_token_id", int),
        forced_eos_token_id=section.optional("forced_eos_token_id", int),
        suppressed_tokens=section.items("suppressed_tokens", int, ()),
        prefix=section.get("prefix", str, ""),
        tokenizer=section.optional("tokenizer", str),
        answer_key=section.choice("answer_key", ANSWER_KEYS, "generated_text"),
    )


def _audio(section: _Section) -> Audio:
    audio = Audio(
        sample_rate=section.positive("sample_rate", int, 16000),
        seconds=float(section.positive("seconds", float, 1.0)),
        features=section.choice("features", ("waveform", "log_mel"), "waveform"),
        mels=section.positive("mels", int, 40),
        window=section.positive("window", int, 400),
        hop=section.positive("hop", int, 160),
    )
    if audio.features == "log_mel" and audio.window > audio.length:
        raise ModelError(f"{FILE}: audio.window: {audio.window} samples are longer than the clip's {audio.length}")
    return audio


def _ctc(section: _Section) -> Ctc:
    ctc = Ctc(blank=section.get("blank", int, 0), word_delimiter=section.get("word_delimiter", str, "|"))
    if ctc.blank < 0:
        raise ModelError(f"{FILE}: ctc.blank: must not be below 0, but is {ctc.blank}")
    return ctc


def _tabular(section: _Section) -> Tabular:
    columns = []
    for index, values in enumerate(section.get("columns", list)):
        if not isinstance(values, Mapping):
            raise ModelError(f"{FILE}: tabular.columns[{index}]: must be an object")
        columns.append(_column(_Section(values, f"tabular.columns[{index}]")))
    if not columns or len({column.name for column in columns}) != len(columns):
        raise ModelError(f"{FILE}: tabular.columns: needs at least one column, each with a name of its own")
    tabular = Tabular(
        columns=tuple(columns),
        inputs=section.choice("inputs", ("features", "columns"), "features"),
        activation=section.choice("activation", ("none", "softmax"), "none"),
    )
    open_ended = [column.name for column in columns if column.type == "category" and not column.categories]
    if tabular.inputs == "features" and open_ended:
        raise ModelError(f"{FILE}: tabular: {open_ended[0]} needs categories, whose places the features hold")
    return tabular


def _column(section: _Section) -> Column:
    kind = section.choice("type", ("number", "integer", "category"), "number")
    if kind == "number" and section.values.get("missing") == "nan":
        missing: Any = "nan"
    else:
        missing = section.optional("missing", {"number": float, "integer": int, "category": str}[kind])
    return Column(
        name=section.get("name", str), type=kind, categories=section.items("categories", str, ()), missing=missing
    )


def _tensor(section: _Section) -> Tensor:
    inputs = {}
    for name, values in section.get("inputs", Mapping).items():
        if not isinstance(values, Mapping):
            raise ModelError(f"{FILE}: tensor.inputs.{name}: must be an object")
        one = _Section(values, f"tensor.inputs.{name}")
        inputs[name] = TensorInput(shape=one.items("shape", int), dtype=one.choice("dtype", DTYPES, "float32"))
        if any(size < 1 and size != -1 for size in inputs[name].shape):
            raise ModelError(f"{FILE}: tensor.inputs.{name}.shape: each must be above 0, or -1 for any length")
    outputs = section.items("outputs", str, ("output",))
    if not inputs or not outputs:
        raise ModelError(f"{FILE}: tensor: needs at least one input and one output")
    return Tensor(inputs=inputs, outputs=outputs)


SECTIONS: dict[str, dict[str, Any]] = {
    "text-classification": {"text": _text},
    "image-classification": {"image": _image},
    "audio-classification": {"audio": _audio},
    "tensor": {"tensor": _tensor},
    "object-detection": {"image": _image, "detection": _detection},
    "tabular": {"tabular": _tabular},
    "text-embedding": {"text": _text},
    "token-classification": {"text": _text},
    "speech-recognition": {"audio": _audio, "ctc": _ctc},
    "text-generation": {"text": _text, "generation": _generation},
}
"""Task → the keys that configure it, each with what reads it."""
