"""The spec: one YAML file, one model. Field descriptions here are the documentation and the JSON schema.

Only the shape lives here; `loading` turns a file into it and says what is wrong with line and key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from model_build.manifest import Deploy, Frozen, Name

Task = Literal["text-classification", "image-classification", "audio-classification", "tensor"]

FactoryName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_][\w]*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$", examples=["examples.fashion.model:build"]
    ),
]


def _project_path(value: str) -> str:
    path = value.removeprefix("pkg:")
    if not path or path.startswith("/") or "\\" in path or "\0" in path or ".." in path.split("/"):
        raise ValueError("must be a path inside the project, or pkg:PACKAGE/path, without '..'")
    return value


ProjectPath = Annotated[
    str,
    AfterValidator(_project_path),
    Field(
        description="A path relative to the project root, or `pkg:PACKAGE/path` for a file inside an installed package."
    ),
]


class Factory(Frozen):
    """A Python callable of the project, named `module:function`.

    Its inputs are all files of its module's directory, `files`, and the versions of `packages`: a change of any of
    them rebuilds what the factory made.
    """

    factory: FactoryName
    args: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the call.")
    files: tuple[ProjectPath, ...] = Field((), description="Further files that the factory reads.")
    packages: tuple[str, ...] = Field(
        (), description="Distributions whose version changes what the factory returns."
    )


class PytorchSource(Factory):
    """A `torch.nn.Module` made by a factory; `weights` are loaded strictly, from safetensors."""

    weights: ProjectPath | dict[str, ProjectPath] | None = Field(
        None,
        description="One safetensors file, or one per submodule: `{encoder: pkg:…, head: examples/…}`.",
    )


class OnnxSource(Frozen):
    path: ProjectPath = Field(description="An ONNX model file.")


class Source(Frozen):
    """Where the trained model comes from: exactly one kind."""

    pytorch: PytorchSource | None = None
    onnx: OnnxSource | None = None

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


class Data(Frozen):
    """Samples and their labels: `evaluation` is what accuracy and latency are measured on."""

    evaluation: Factory | None = Field(
        None,
        description="Factory that returns `(samples, labels)`: raw samples as the endpoint receives them, decoded.",
    )
    calibration: Factory | None = Field(
        None, description="The same, for passes that look at data. Never the evaluation data."
    )


class Text(Frozen):
    tokenizer: ProjectPath = Field(description="A `tokenizer.json` of the Hugging Face `tokenizers` library.")
    max_length: int = Field(128, ge=1, le=8192, description="Tokens; longer texts are cut.")


class Image(Frozen):
    mode: Literal["L", "RGB"] = Field("RGB", description="Grey or colour.")
    size: tuple[int, int] = Field(description="Height and width that the model takes, pixels.")
    mean: tuple[float, ...] = Field(
        (0.0,), description="Subtracted after scaling to 0…1, one per channel or one for all."
    )
    std: tuple[float, ...] = Field((1.0,), description="Divided by, one per channel or one for all.")


class Audio(Frozen):
    sample_rate: int = Field(
        16000, ge=4000, le=192000, description="Hz that the model takes; other rates are resampled."
    )
    seconds: float = Field(
        1.0, gt=0, le=600, description="Length that the model takes; longer is cut, shorter padded."
    )
    features: Literal["waveform", "log_mel"] = Field("waveform", description="What the model takes.")
    mels: int = Field(40, ge=8, le=256, description="Mel bands, for log_mel.")
    window: int = Field(400, ge=32, description="Samples of one analysis window, for log_mel.")
    hop: int = Field(160, ge=8, description="Samples between two windows, for log_mel.")


class TensorInput(Frozen):
    dtype: Literal["float32", "float64", "int64", "int32", "uint8", "bool"] = "float32"
    shape: tuple[int, ...] = Field(description="Shape of one sample, without the batch; -1 is any length.")


class Tensor(Frozen):
    inputs: dict[str, TensorInput] = Field(min_length=1, description="The model's inputs by name.")
    outputs: tuple[str, ...] = Field(("output",), min_length=1, description="The model's outputs by name.")


class Handler(Frozen):
    """Your own serving code in place of the task's."""

    inference: ProjectPath = Field(
        description="A file that defines model_fn and, if wanted, input_fn, predict_fn, output_fn."
    )
    files: tuple[ProjectPath, ...] = Field((), description="Further files for the artifact's `code/` folder.")
    requirements: tuple[str, ...] = Field(
        (), description="Pinned packages (`name==version`) that the code needs."
    )


class Optimize(Frozen):
    candidates: tuple[tuple[str | dict[str, dict[str, Any]], ...], ...] = Field(
        (("export_onnx",),),
        min_length=1,
        description="Each a list of passes, `name` or `{name: {option: value}}`; shared beginnings are built once.",
    )
    choose: Literal["fastest", "smallest"] = Field(
        "fastest", description="Among the candidates that pass every gate."
    )


class AccuracyGate(Frozen):
    max_drop: float | None = Field(
        None, ge=0, le=1, description="How much lower than the source model's score, absolute."
    )
    min: float | None = Field(None, description="Lowest score.")


class LatencyGate(Frozen):
    max_ms: float | None = Field(None, gt=0)
    max_ratio: float | None = Field(None, gt=0, description="Of the source model's, measured side by side.")


class MegabyteGate(Frozen):
    max_mb: float | None = Field(None, gt=0)
    max_ratio: float | None = Field(None, gt=0, description="Of the source model's.")


class Gates(Frozen):
    """What a candidate must hold. One that misses a gate, or lacks its evidence, is never promoted."""

    accuracy: AccuracyGate | None = None
    latency_p50: LatencyGate | None = None
    latency_p95: LatencyGate | None = None
    memory_peak: MegabyteGate | None = None
    size: MegabyteGate | None = None


class Measure(Frozen):
    threads: int = Field(1, ge=1, le=256, description="Intra-op threads of source and candidates alike.")
    rounds: int = Field(5, ge=1, le=1000, description="Interleaved rounds of latency measurement.")
    requests: int = Field(30, ge=5, le=10000, description="Timed requests of one model in one round.")


class DeployOverlay(Frozen):
    """Like `deploy`, each field optional: what is given replaces, `instances`, `autoscaling` and `environment` merge."""

    endpoint: Literal["realtime"] | None = None
    instance: str | None = None
    instances: dict[Literal["min", "max"], int] | None = None
    autoscaling: dict[Literal["target", "scale_in_cooldown", "scale_out_cooldown"], float] | None = None
    image: str | None = None
    environment: dict[str, str] | None = None


class Environment(Frozen):
    deploy: DeployOverlay = Field(default_factory=DeployOverlay)


class Spec(Frozen):
    name: Name = Field(description="The model's name: lower case, digits and hyphens; also the file's name.")
    description: str = Field("", max_length=500)
    task: Task = Field(description="Fixes how a request is decoded and an answer encoded.")
    labels: tuple[str, ...] = Field((), description="Class names in the order of the model's outputs.")
    text: Text | None = Field(None, description="Preprocessing of text tasks.")
    image: Image | None = Field(None, description="Preprocessing of image tasks.")
    audio: Audio | None = Field(None, description="Preprocessing of audio tasks.")
    tensor: Tensor | None = Field(None, description="Inputs and outputs of the task `tensor`.")
    source: Source
    data: Data = Field(default_factory=Data)
    optimize: Optimize = Field(default_factory=Optimize)
    measure: Measure = Field(default_factory=Measure)
    gates: Gates = Field(default_factory=Gates)
    handler: Handler | None = None
    sample: ProjectPath | None = Field(
        None, description="An input to try the endpoint with: .json, .png, .jpg, .wav, .npy."
    )
    deploy: Deploy = Field(default_factory=Deploy)
    environments: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,20}$")], Environment] = Field(
        default_factory=dict
    )
