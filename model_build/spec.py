"""The spec: one YAML file, one model. Field descriptions here are the documentation and the JSON schema.

Only the shape lives here; `loading` turns a file into it and says what is wrong with line and key, `rules` holds what
spans several keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_serializer, model_validator

from model_build.deployment import FORMS, Deploy, Duration, Frozen, form
from model_build.manifest import Name

Task = Literal[
    "text-classification",
    "image-classification",
    "audio-classification",
    "tensor",
    "object-detection",
    "tabular",
    "text-embedding",
    "token-classification",
    "speech-recognition",
    "text-generation",
]

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "text-classification": ("text",),
    "image-classification": ("image",),
    "audio-classification": ("audio",),
    "tensor": ("tensor",),
    "tabular": ("tabular",),
    "object-detection": ("image", "detection"),
    "text-embedding": ("text",),
    "token-classification": ("text",),
    "speech-recognition": ("audio", "ctc"),
    "text-generation": ("text", "generation"),
}
"""Task → the keys that configure it: the first is required, any others have defaults."""

CONTENT_TYPES: Mapping[str, str] = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".wav": "audio/wav",
    ".npy": "application/x-npy",
}
"""Ending of a sample input's file → the content type that it is sent with."""

FactoryName = Annotated[
    str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$", examples=["examples.fashion.model:build"])
]


def _project_path(value: str) -> str:
    path = value.removeprefix("pkg:")
    if not path or path.startswith("/") or "\\" in path or "\0" in path or ".." in path.split("/"):
        raise ValueError("must be a path inside the project, or pkg:PACKAGE/path, without '..'")
    if value.startswith("pkg:") and not all(path.partition("/")[::2]):
        raise ValueError("must be pkg:PACKAGE/path/of/the/file")
    return value


ProjectPath = Annotated[str, AfterValidator(_project_path)]
"""A path relative to the project root, or `pkg:PACKAGE/path` for a file inside an installed package."""


class Factory(Frozen):
    """A Python callable of the project, named `module:function`.

    Its inputs are all files of its module's directory but `*.md`, `files`, and the versions of `packages`: a change of
    any of them rebuilds what the factory made.
    """

    factory: FactoryName = Field(description="The callable, `module:function`.")
    args: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the call.")
    files: tuple[ProjectPath, ...] = Field(
        (), description="Further files or folders that the factory reads, outside its module's own folder."
    )
    packages: tuple[str, ...] = Field(
        (), description="Installed distributions whose version changes what the factory returns."
    )


class WeightedFactory(Factory):
    """A `torch.nn.Module` among the options of a pass, made by a factory."""

    weights: ProjectPath | None = Field(
        None, description="A safetensors file, loaded strictly. Left out: as the factory makes them, from the seed."
    )


WEIGHTS_FORMS = ("one file", "by submodule")


def _weights_form(value: Any) -> str:
    return WEIGHTS_FORMS[isinstance(value, Mapping)]


class PytorchSource(Factory):
    """A `torch.nn.Module` made by a factory; `weights` are loaded strictly, and no code in them is ever run."""

    weights: (
        Annotated[
            Annotated[ProjectPath, Tag(WEIGHTS_FORMS[0])]
            | Annotated[dict[str, ProjectPath], Field(min_length=1), Tag(WEIGHTS_FORMS[1])],
            Discriminator(_weights_form),
        ]
        | None
    ) = Field(
        None,
        description="A safetensors file (or a state dict in .pt, .pth), or one for each submodule: "
        "`{encoder: pkg:…, head: examples/…}`. Left out: the factory loads them itself.",
    )


class TorchscriptSource(Frozen):
    """A TorchScript archive, as `torch.jit.save` writes it. It holds a program, which cannot call Python."""

    path: ProjectPath = Field(description="The archive: .pt, .pth or .ts.")


class OnnxSource(Frozen):
    path: ProjectPath = Field(description="An ONNX model file.")


class HuggingfaceSource(Frozen):
    """A fine-tuned model as `transformers` saves it: config.json and safetensors. Code beside it is never run."""

    path: ProjectPath | None = Field(None, description="A local folder that holds it.")
    repository: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")] | None = Field(
        None, description="Or its id on the hub, `OWNER/NAME`."
    )
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        None, description="The hub's commit, all 40 digits: a branch or a tag could change."
    )
    offline: bool = Field(
        True, description="Take it from the hub's local cache alone. `false` lets a build download it once."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.repository is None):
            raise ValueError("give either path, a local folder, or repository and revision")
        if self.repository and self.revision is None:
            raise ValueError("a repository needs its revision, the commit of 40 digits: a branch could change")
        if self.path and (self.revision or not self.offline):
            raise ValueError("revision and offline belong to a repository; a local folder has neither")
        return self


class Hdf5Source(Factory):
    """A `torch.nn.Module` made by a factory; its state dict is read from HDF5, one dataset for each tensor."""

    path: ProjectPath = Field(description="The file, .h5 or .hdf5. Groups stand for dots: `encoder/0/weight`.")


class PickledSource(Frozen):
    """A fitted scikit-learn estimator, which becomes ONNX, or a state dict of NumPy arrays.

    Such a file can run code when it is read. It is read in a process of its own without network, and only classes of
    scikit-learn and NumPy are made from it.
    """

    path: ProjectPath = Field(description="The file.")
    allow_code: bool = Field(
        False, description="Must be `true`: says that whoever wrote the file is trusted, as it can run code."
    )
    module: Factory | None = Field(
        None,
        description="Makes the `torch.nn.Module` whose state dict the file holds. Left out: it holds an estimator.",
    )


HostAndPort = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$", examples=["superlink.example.com:8000"]
    ),
]


class FederatedClients(Factory):
    """Whose samples the model learns from. The factory is called at each client with `partition`, the client's number
    from 0, and `partitions`, how many there are; it returns `(samples, labels)` as the factories of `data` do."""

    number: int = Field(
        4, ge=2, le=1000, description="Clients of the simulation. Of a federation its nodes say how many they are."
    )


class FederatedSource(Factory):
    """A `torch.nn.Module` made by a factory and trained where the samples are, by a Flower app: only weights cross.

    Without `superlink`, clients are processes of this machine, and the same spec gives the same weights.
    """

    clients: FederatedClients = Field(description="The clients and their samples.")
    rounds: int = Field(10, ge=1, le=10000, description="Rounds: clients train, and their weights are averaged.")
    strategy: Literal["fedavg", "fedprox"] = Field(
        "fedavg", description="FedAvg, or FedProx, which holds clients near the weights that they began a round with."
    )
    proximal_mu: float | None = Field(None, gt=0, description="How strongly `fedprox` holds them; 0.001 to 1 is usual.")
    epochs: int = Field(1, ge=1, le=1000, description="Passes over its samples that a client makes in a round.")
    batch_size: int = Field(32, ge=2, le=65536, description="Samples of one step.")
    learning_rate: float = Field(0.05, gt=0, description="Step size of the clients' stochastic gradient descent.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="How the step size goes from round to round: down to nothing by a cosine, or not at all."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="The descent's momentum, begun anew every round.")
    held_out: float = Field(
        0.1, ge=0, le=0.9, description="Share of each client's samples that it scores every round's model on instead."
    )
    fraction: float = Field(1.0, gt=0, le=1, description="Share of the clients that train in a round; the seed draws.")
    min_clients: int = Field(2, ge=1, description="With fewer answers in a round the training fails.")
    round_limit: Duration = Field("10m", description="A client that takes longer in a round is left out of it.")
    seed: int = Field(0, ge=0, le=2**31, description="Of weights, splits, order and the drawing of clients.")
    threads: int = Field(1, ge=1, le=256, description="Of each client. They change the order of sums: the weights.")
    superlink: HostAndPort | None = Field(
        None, description="`HOST:PORT` of a SuperLink: the app runs in its federation rather than here."
    )
    certificate: ProjectPath | None = Field(
        None, description="The SuperLink's root certificate, PEM. Only a SuperLink on this machine may go without."
    )
    run: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Names one training: another name trains again. Required with `superlink`, whose result cannot be "
        "made twice.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.strategy == "fedprox") != (self.proximal_mu is not None):
            raise ValueError("proximal_mu belongs to strategy: fedprox, which needs it")
        if self.superlink is None:
            if self.certificate:
                raise ValueError("certificate belongs to a superlink")
            if self.min_clients > self.clients.number:
                raise ValueError(f"min_clients ({self.min_clients}) is more than the {self.clients.number} clients")
            return self
        if self.run is None:
            raise ValueError(
                "a superlink needs a run, any name: its result cannot be made twice; a new name trains anew"
            )
        if self.certificate is None and not self.on_this_machine:
            raise ValueError("a superlink on another machine needs its root certificate: weights cross by TLS alone")
        return self

    @property
    def on_this_machine(self) -> bool:
        host = (self.superlink or "").rpartition(":")[0]
        return host in ("localhost", "[::1]") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None

    @property
    def of_a_client(self) -> Factory:
        """The clients' factory as the first of them calls it."""
        partition = {"partition": 0, "partitions": self.clients.number}
        return self.clients.model_copy(update={"args": {**self.clients.args, **partition}})


class Source(Frozen):
    """Where the trained model comes from: exactly one kind."""

    pytorch: PytorchSource | None = Field(None, description="A PyTorch module, from a factory and its weights.")
    torchscript: TorchscriptSource | None = Field(None, description="A PyTorch module saved as TorchScript.")
    onnx: OnnxSource | None = Field(None, description="A model that is ONNX already.")
    huggingface: HuggingfaceSource | None = Field(None, description="A model of the `transformers` library.")
    hdf5: Hdf5Source | None = Field(None, description="A PyTorch module, from a factory and a state dict in HDF5.")
    joblib: PickledSource | None = Field(None, description="A scikit-learn estimator (or a state dict) by joblib.")
    pickle: PickledSource | None = Field(None, description="A scikit-learn estimator (or a state dict), pickled.")
    federated: FederatedSource | None = Field(
        None, description="A PyTorch module that a Flower app trains at several clients."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [kind for kind in type(self).model_fields if getattr(self, kind) is not None]
        if len(given) != 1:
            known = ", ".join(type(self).model_fields)
            raise ValueError(f"give exactly one kind of source ({known}), not {len(given)}")
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in type(self).model_fields if getattr(self, kind) is not None)

    @property
    def config(self) -> Any:
        """The settings of the one kind that is given."""
        return getattr(self, self.kind)

    @property
    def format(self) -> Literal["pytorch", "onnx"]:
        """What the first pass of a candidate gets: a live module, or an ONNX file."""
        if isinstance(self.config, PickledSource):
            return "pytorch" if self.config.module else "onnx"
        return "onnx" if self.onnx else "pytorch"

    @property
    def factory(self) -> tuple[tuple[str, ...], Factory] | None:
        """The factory that makes the module, and its key within the source; None where none does."""
        config = self.config
        if isinstance(config, PickledSource):
            return ((self.kind, "module"), config.module) if config.module else None
        return ((self.kind,), config) if isinstance(config, Factory) else None


class Data(Frozen):
    """Samples and their labels."""

    evaluation: Factory | None = Field(
        None,
        description="Factory that returns `(samples, labels)`: samples as the endpoint has them once decoded, labels "
        "int64, or what the task's metric compares answers with. Score and latency are measured on them.",
    )
    calibration: Factory | None = Field(
        None, description="The same, for passes that look at data. Never the evaluation data."
    )
    training: Factory | None = Field(
        None, description="The same, for passes that train: fine-tuning, distillation. Never the evaluation data."
    )


TokenId = Annotated[int, Field(ge=0)]


class Generation(Frozen):
    """How `text-generation` writes an answer. What is left out is as the checkpoint of `source.huggingface` says; the
    defaults here are for one that does not."""

    max_new_tokens: int = Field(64, ge=1, le=4096, description="Most tokens of an answer; a request may ask for fewer.")
    min_new_tokens: int = Field(0, ge=0, le=4096, description="Fewest tokens of an answer.")
    num_beams: int = Field(1, ge=1, le=16, description="Texts that beam search keeps; 1 is greedy search.")
    length_penalty: float = Field(
        1.0, ge=-10, le=10, description="Of beam search: above 0 for longer answers, below for shorter ones."
    )
    early_stopping: Literal[True, False, "never"] = Field(
        False,
        description="Beam search ends when `num_beams` texts are finished (`true`), when a better one is unlikely "
        "(`false`), or when none can come (`never`).",
    )
    no_repeat_ngram_size: int = Field(0, ge=0, le=64, description="No row of so many tokens comes twice; 0 for any.")
    decoder_start_token_id: TokenId = Field(0, description="The token that an answer starts with.")
    pad_token_id: TokenId = Field(0, description="The token that fills up shorter answers.")
    eos_token_ids: tuple[TokenId, ...] = Field((1,), min_length=1, description="The tokens that end an answer.")
    forced_bos_token_id: TokenId | None = Field(
        None, description="The first token of every answer: the language, with some models of many languages."
    )
    forced_eos_token_id: TokenId | None = Field(None, description="The last token of an answer that is cut.")
    suppressed_tokens: tuple[TokenId, ...] = Field((), description="Tokens that never come.")
    prefix: str = Field("", max_length=500, description='Put before every text: "translate English to German: ".')
    tokenizer: ProjectPath | None = Field(
        None, description="A `tokenizer.json` for the answers, where they have other tokens than the texts."
    )
    answer_key: Literal["generated_text", "translation_text", "summary_text"] = Field(
        "generated_text", description="What a client finds its answer under."
    )


class Text(Frozen):
    tokenizer: ProjectPath = Field(description="A `tokenizer.json` of the Hugging Face `tokenizers` library.")
    max_length: int = Field(128, ge=1, le=8192, description="Tokens; longer texts are cut.")


Pixels = Annotated[int, Field(ge=1, le=8192)]
Deviation = Annotated[float, Field(gt=0)]


class Image(Frozen):
    mode: Literal["L", "RGB"] = Field("RGB", description="Grey or colour.")
    size: tuple[Pixels, Pixels] = Field(description="Height and width that the model takes, pixels.")
    mean: tuple[float, ...] = Field(
        (0.0,), description="Subtracted after scaling to 0…1, one per channel or one for all."
    )
    std: tuple[Deviation, ...] = Field((1.0,), description="Divided by, one per channel or one for all.")

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Self:
        channels = 1 if self.mode == "L" else 3
        for key in ("mean", "std"):
            values = len(getattr(self, key))
            if values not in (1, channels):
                wanted = "1 value" if channels == 1 else "1 or 3 values"
                raise ValueError(f"{key} has {values} values; mode {self.mode} takes {wanted}")
        return self


class Detection(Frozen):
    score_threshold: float = Field(
        0.5, ge=0, le=1, description="Lowest score that is answered where a request names no `threshold`."
    )
    iou_threshold: float = Field(
        0.5, ge=0, le=1, description="Of two boxes of one class that overlap more, the likelier is kept."
    )
    max_detections: int = Field(100, ge=1, le=1000, description="Most objects of one picture.")
    activation: Literal["sigmoid", "softmax"] = Field(
        "sigmoid",
        description="What makes scores of the logits. softmax: over the labels and one class more, the last, which "
        "stands for no object.",
    )
    nms: bool = Field(
        True, description="Leave overlapping boxes out. `false` for models that find each object once, as DETR does."
    )


class Audio(Frozen):
    sample_rate: int = Field(
        16000, ge=4000, le=192000, description="Hz that the model takes; other rates are resampled."
    )
    seconds: float = Field(1.0, gt=0, le=600, description="Length that the model takes; longer is cut, shorter padded.")
    features: Literal["waveform", "log_mel"] = Field("waveform", description="What the model takes.")
    mels: int = Field(40, ge=8, le=256, description="Mel bands, for log_mel.")
    window: int = Field(400, ge=32, description="Samples of one analysis window, for log_mel.")
    hop: int = Field(160, ge=8, description="Samples between two windows, for log_mel.")

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        samples = round(self.seconds * self.sample_rate)
        if self.features == "log_mel" and self.window > samples:
            raise ValueError(f"window ({self.window} samples) is longer than the clip ({samples} samples)")
        if self.features == "log_mel" and self.hop > self.window:
            raise ValueError(f"hop ({self.hop}) is larger than window ({self.window}): samples between would be lost")
        return self


class Ctc(Frozen):
    """Which symbols of a speech model stand for no text, or for a space; `labels` are the symbols."""

    blank: int = Field(0, ge=0, description="Index of the blank in `labels`.")
    word_delimiter: str = Field(
        "|", min_length=1, max_length=8, description="The symbol, or part of a symbol, between two words."
    )


def _length(value: int) -> int:
    if value < 1 and value != -1:
        raise ValueError(f"must be at least 1, or -1 for any length; it is {value}")
    return value


class TensorInput(Frozen):
    dtype: Literal["float32", "float64", "int64", "int32", "uint8", "bool"] = Field(
        "float32", description="Type of its elements."
    )
    shape: tuple[Annotated[int, AfterValidator(_length)], ...] = Field(
        description="Shape of one sample, without the batch; -1 is any length."
    )


class Tensor(Frozen):
    inputs: dict[str, TensorInput] = Field(min_length=1, description="The model's inputs by name.")
    outputs: tuple[str, ...] = Field(("output",), min_length=1, description="The model's outputs by name.")


class Column(Frozen):
    """One column of a table."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="As requests name it; with `inputs: columns` also the model's input."
    )
    type: Literal["number", "integer", "category"] = Field("number", description="What its values are.")
    categories: tuple[str, ...] = Field(
        (), description="The texts that a category may be; others are refused. Left out: any text."
    )
    missing: Annotated[float, Field(allow_inf_nan=False)] | str | None = Field(
        None,
        description="What the model gets where a row has no value: a number, `nan`, or a category's text. Left out: "
        "such a row is refused.",
    )

    @model_validator(mode="after")
    def _of_its_type(self) -> Self:
        if self.categories and self.type != "category":
            raise ValueError(f"categories belong to the type category, not to {self.type}")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("a category is given twice")
        fits = {
            "number": isinstance(self.missing, float) or self.missing == "nan",
            "integer": isinstance(self.missing, float) and self.missing.is_integer(),
            "category": isinstance(self.missing, str),
        }[self.type]
        if self.missing is not None and not fits:
            wanted = {"number": "a number or nan", "integer": "an integer", "category": "a text"}[self.type]
            raise ValueError(f"missing must be {wanted} in a column of the type {self.type}; it is {self.missing!r}")
        return self

    @field_serializer("missing")
    def _as_its_type(self, missing: float | str | None) -> float | int | str | None:
        return int(missing) if self.type == "integer" and isinstance(missing, float) else missing


class Tabular(Frozen):
    columns: tuple[Column, ...] = Field(min_length=1, description="In the order of the model's features.")
    inputs: Literal["features", "columns"] = Field(
        "features",
        description="What the model takes: `features`, one float32 matrix, in which a category is its place in the "
        "list; or `columns`, an input for each by its name, (rows, 1), a category as text.",
    )
    activation: Literal["none", "softmax"] = Field(
        "none", description="What makes scores of the model's output, with labels: `softmax` where they are logits."
    )

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        names = [column.name for column in self.columns]
        if twice := [name for index, name in enumerate(names) if name in names[:index]]:
            raise ValueError(f"two columns are called '{twice[0]}'")
        if self.inputs == "features":
            for column in self.columns:
                if column.type == "category" and not column.categories:
                    raise ValueError(f"{column.name} needs categories, whose places the features hold")
        return self

    @property
    def has_text(self) -> bool:
        """Whether the model itself takes text."""
        return self.inputs == "columns" and any(column.type == "category" for column in self.columns)


Requirement = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?==[\w.!+]+$", examples=["numpy==2.4.0"])]


class Handler(Frozen):
    """Your own serving code in place of the task's."""

    inference: ProjectPath = Field(
        description="A file that defines model_fn and, if wanted, input_fn, predict_fn, output_fn."
    )
    files: tuple[ProjectPath, ...] = Field(
        (), description="Further files for the artifact's `code/` folder, by their own names."
    )
    requirements: tuple[Requirement, ...] = Field(
        (), description="Pinned packages (`name==version`) that the code needs."
    )


class Step(Frozen):
    """One pass of a candidate. `options` are what the file says; the pass's `Config` has checked them."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


def _step(value: Any) -> Any:
    if isinstance(value, str):
        return Step(name=value)
    if isinstance(value, dict) and len(value) == 1:
        ((name, options),) = value.items()
        if options is None or isinstance(options, dict):
            return Step(name=name, options=options or {})
        raise ValueError(f"the options of {name} must be a mapping, `{name}: {{option: value}}`")
    if isinstance(value, Step):
        return value
    raise ValueError("a pass is `name` or `{name: {option: value}}`; a candidate is a list of them")


class Optimize(Frozen):
    """The ways to try, and which of those that pass every gate to take. `optimize: auto` searches for them."""

    candidates: tuple[tuple[Annotated[Step, BeforeValidator(_step)], ...], ...] = Field(
        ((Step(name="export_onnx"),),),
        min_length=1,
        description="Each a list of passes, `name` or `{name: {option: value}}`; shared beginnings are built once.",
    )
    choose: Literal["fastest", "smallest"] = Field("fastest", description="Among the candidates that pass every gate.")
    auto: bool = Field(
        False,
        description="Grows further candidates from these by what helped on held-out calibration data; they are gated "
        "like the others. `optimize: auto` alone begins with the model exported, or as it is.",
    )
    budget: Duration = Field("10m", description="With `auto`: no new candidate is begun after so long.")


def _spelt_out(_: str) -> Optimize:
    return Optimize(auto=True)


if TYPE_CHECKING:
    Searched = Optimize
else:  # the word is turned into the keys, so the code sees these alone
    Searched = Annotated[
        Annotated[Literal["auto"], AfterValidator(_spelt_out), Tag(FORMS[0])] | Annotated[Optimize, Tag(FORMS[1])],
        Discriminator(form),
    ]


class Gate(Frozen):
    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if all(getattr(self, limit) is None for limit in type(self).model_fields):
            raise ValueError(f"a gate without a limit; give {' or '.join(type(self).model_fields)}")
        return self


class AccuracyGate(Gate):
    max_drop: float | None = Field(
        None, ge=0, le=1, description="How much lower than the source model's score, absolute."
    )
    min: float | None = Field(None, description="Lowest score.")


class LatencyGate(Gate):
    max_ms: float | None = Field(None, gt=0, description="Highest latency, milliseconds.")
    max_ratio: float | None = Field(None, gt=0, description="Of the source model's, measured side by side.")


class MegabyteGate(Gate):
    max_mb: float | None = Field(None, gt=0, description="Most megabytes (memory: MiB).")
    max_ratio: float | None = Field(None, gt=0, description="Of the source model's.")


class ThroughputGate(Gate):
    min_rps: float | None = Field(None, gt=0, description="Fewest samples per second.")
    min_ratio: float | None = Field(None, gt=0, description="Of the source model's, measured side by side.")


class Gates(Frozen):
    """What a candidate must hold. One that misses a gate, or lacks its evidence, is never promoted."""

    accuracy: AccuracyGate | None = Field(None, description="The task's metric on the evaluation data.")
    latency_p50: LatencyGate | None = Field(None, description="Median latency of one sample.")
    latency_p95: LatencyGate | None = Field(None, description="95th percentile of the latency of one sample.")
    memory_peak: MegabyteGate | None = Field(None, description="Peak memory of a fresh process that runs the model.")
    size: MegabyteGate | None = Field(None, description="Size of the model's files.")
    throughput: ThroughputGate | None = Field(
        None,
        description="Samples per second that one process answers when `measure.clients` threads ask at once, "
        "one sample each.",
    )


class Measure(Frozen):
    """How latency is measured: source and candidates take turns, so that they see the same machine."""

    threads: int = Field(1, ge=1, le=256, description="Intra-op threads of source and candidates alike.")
    rounds: int = Field(5, ge=1, le=1000, description="Interleaved rounds of latency measurement.")
    max_rounds: int = Field(
        40,
        ge=5,
        le=1000,
        description="Where the rounds leave it open whether a limit on time holds, more are measured, up to so many in "
        "all; then the gate is not resolved, which is a miss.",
    )
    requests: int = Field(30, ge=5, le=10000, description="Timed requests of one model in one round.")
    clients: int = Field(
        4, ge=1, le=256, description="Threads that ask at once where `gates.throughput` asks for the throughput."
    )
    metric: str | None = Field(
        None,
        description="What `gates.accuracy` judges, 0 to 1 and higher is better; the task's first metric if left out.",
    )


class Environment(Frozen):
    """What differs in one environment."""

    deploy: dict[str, Any] = Field(
        default_factory=dict,
        description="Keys of `deploy` that replace it there; mappings merge, key by key.",
    )


EnvironmentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,20}$", examples=["prod"])]


class Spec(Frozen):
    """One model, from its trained source to its endpoint."""

    name: Name = Field(description="The model's name: lower case, digits and hyphens; also the file's name.")
    description: str = Field("", max_length=500, description="A sentence for people.")
    task: Task = Field(description="Fixes how a request is decoded and an answer encoded.")
    labels: tuple[str, ...] = Field((), description="Class names in the order of the model's outputs.")
    text: Text | None = Field(
        None,
        description="Preprocessing of `text-classification`, `text-embedding`, `token-classification` and "
        "`text-generation`.",
    )
    image: Image | None = Field(None, description="Preprocessing of `image-classification` and `object-detection`.")
    audio: Audio | None = Field(None, description="Preprocessing of `audio-classification` and `speech-recognition`.")
    ctc: Ctc | None = Field(None, description="Symbols of `speech-recognition`.")
    tensor: Tensor | None = Field(None, description="Inputs and outputs of the task `tensor`.")
    tabular: Tabular | None = Field(None, description="Columns of the task `tabular`.")
    detection: Detection | None = Field(None, description="How `object-detection` makes answers of the outputs.")
    generation: Generation | None = Field(None, description="How `text-generation` writes an answer.")
    source: Source = Field(description="Where the trained model comes from: exactly one kind.")
    data: Data = Field(default_factory=Data, description="What is measured on, and what passes may look at.")
    optimize: Searched = Field(default_factory=Optimize, description="The candidates, and which one to take.")
    measure: Measure = Field(default_factory=Measure, description="How latency is measured.")
    gates: Gates = Field(default_factory=Gates, description="What a candidate must hold to be promoted.")
    handler: Handler | None = Field(None, description="Your own serving code in place of the task's.")
    sample: ProjectPath | None = Field(
        None, description="An input to try the endpoint with: .json, .csv, .txt, .png, .jpg, .jpeg, .wav, .npy."
    )
    deploy: Deploy = Field(default_factory=Deploy, description="How the model is hosted.")
    environments: dict[EnvironmentName, Environment] = Field(
        default_factory=dict, description="What differs per environment (Pulumi stack), by its name."
    )
    version: int = Field(
        1,
        ge=1,
        exclude=True,  # how the file is written, nothing of the model: what was built stays built
        description="The version of the spec's form that the file is written in; `slipway migrate` raises it.",
    )

    def sections(self) -> dict[str, dict[str, Any]]:
        """What configures the task, by key, as JSON values."""
        found = ((key, getattr(self, key)) for key in SECTIONS[self.task])
        return {key: section.model_dump(mode="json") for key, section in found if section is not None}

    def deployment(self, environment: str) -> Deploy:
        """How the model is hosted in an environment: `deploy` with that environment's overlay, if it has one."""
        overlay = self.environments.get(environment, Environment()).deploy
        return Deploy.model_validate(merged(self.deploy.model_dump(), overlay))

    def deployments(self) -> dict[str, Deploy]:
        return {environment: self.deployment(environment) for environment in self.environments}


def merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the overlay's keys in place of its own; mappings merge, lists and scalars are replaced."""
    result = dict(base)
    for key, value in overlay.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
