"""The contract of a pass: what it is given and what it returns.

Apart from the registry so that a pass can import it, and so that checking a spec imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    import torch

    from serving.config import ServingConfig

    Array = np.ndarray[Any, np.dtype[Any]]
    Batch = dict[str, Array]

Format = Literal["pytorch", "onnx", "litert"]
SERVED: frozenset[Format] = frozenset({"onnx", "litert"})
"""What an artifact may hold; `serving.handler.open_session` has a runtime for each."""


class PassConfig(BaseModel):
    """Base of every pass's `Config`; the field descriptions are the option's documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingConfig(PassConfig):
    """Base of the `Config` of a pass that trains: how long and how fast. With `epochs: 0` it needs no data."""

    epochs: int = Field(3, ge=0, le=1000, description="Times that training sees `data.training`; 0 trains nothing.")
    learning_rate: float = Field(
        1e-3, gt=0, le=1, description="Highest step size of AdamW; it rises for a tenth of the steps, then falls."
    )
    batch_size: int = Field(64, ge=1, le=65536, description="Samples of one optimizer step.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="Of AdamW.")
    seed: int = Field(0, ge=0, lt=2**31, description="Of the order of samples, dropout and fresh weights.")
    threads: int = Field(
        2, ge=1, le=256, description="Cores used. Another number rounds differently: it is part of the result."
    )


@dataclass(frozen=True)
class InstructionSet:
    """What the CPU of the target instance can do, as far as a pass must know it."""

    name: str = "avx2"
    vnni: bool = False
    """Adds 8-bit products without saturating (AVX-512 VNNI, AVX-VNNI, Arm dot product); else weights need 7 bits."""


class RoundingConfig(PassConfig):
    """Base of the `Config` of a pass that rounds weights to 8 bits, or to 7."""

    reduce_range: bool | None = Field(
        None,
        description="7-bit weights, which CPUs without VNNI need to keep accuracy: 8-bit products saturate there. "
        "Left out: true unless this machine, which measures, and every `deploy.instance` of the spec have VNNI.",
    )

    def narrow(self, instruction_set: InstructionSet) -> bool:
        """Whether weights get 7 bits."""
        return not instruction_set.vnni if self.reduce_range is None else self.reduce_range


class QuantizationConfig(RoundingConfig):
    """Base of the `Config` of a pass that stores weights as 8-bit integers."""

    per_channel: bool = Field(
        True, description="One scale for each output channel of a weight, in place of one for all."
    )


def needs_training(config: PassConfig) -> bool:
    """Whether a step looks at `data.training`."""
    return isinstance(config, TrainingConfig) and config.epochs > 0


@dataclass(frozen=True)
class Model:
    """A model between two passes."""

    format: Format
    directory: Path
    entry: str = ""
    """The file in `directory` that is the model, for instance `model.onnx`."""
    load: Callable[[], torch.nn.Module] | None = None
    """For `pytorch`: makes the live module, in eval mode. Called only when a pass really runs."""
    parts: tuple[str, ...] = ()
    """Further graphs of the same model beside `entry`."""

    @property
    def path(self) -> Path:
        return self.directory / self.entry

    @property
    def files(self) -> tuple[Path, ...]:
        """`path`, then the parts."""
        return (self.path, *(self.directory / part for part in self.parts))


@dataclass(frozen=True)
class Context:
    """What a pass may use beside the model. Everything costly is a callable, so that it is paid for when used."""

    output: Path
    """An empty directory that the pass writes its result into."""
    example: Callable[[], Batch]
    """One encoded batch: input name → array, axis 0 is the batch."""
    input_axes: Mapping[str, Mapping[int, str]]
    """Input name → {axis: symbolic name} of every axis whose length varies."""
    output_names: tuple[str, ...]
    serving: ServingConfig | None = None
    calibration: Callable[[], Iterator[Batch]] | None = None
    """Encoded batches of the calibration data; None where the spec has none."""
    training: Callable[[], Iterator[tuple[Batch, Array]]] | None = None
    """Encoded training samples and their labels (n,), int64, all of equal shapes at once; None without data."""
    source: Callable[[], torch.nn.Module] | None = None
    """Makes the source model, in eval mode; None where it is no PyTorch module."""
    root: Path | None = None
    """The project's root, which the factories and paths among a pass's options are relative to."""
    work: Path | None = None
    """A folder that survives a killed build, for what training can go on from; it may not exist yet."""
    instruction_set: InstructionSet = InstructionSet()
    seed: int = 0
    progress: Callable[[str], None] = lambda message: None


class Pass(Protocol):
    """A module of this package. Its docstring's first line is what the documentation says of it.

    It may also have `LIBRARIES`, distributions of its own whose versions are part of the key of what it makes, and
    `CAVEAT`, which the report repeats.
    """

    __name__: str
    __doc__: str | None
    Config: ClassVar[type[PassConfig]]
    VERSION: ClassVar[int]
    """Raised when the same input and config give another result: it is part of the cache key."""
    ACCEPTS: ClassVar[frozenset[Format]]
    PRODUCES: ClassVar[Format]
    NEEDS_CALIBRATION: ClassVar[bool]
    """Whether it looks at data: a spec that uses it must give `data.calibration`."""

    @staticmethod
    def run(model: Model, config: Any, context: Context) -> Model: ...
