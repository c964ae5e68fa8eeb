"""The contract of a pass: what it is given and what it returns.

Apart from the registry so that a pass can import it, and so that checking a spec imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    import torch

    from serving.config import ServingConfig

    Batch = dict[str, np.ndarray[Any, np.dtype[Any]]]

Format = Literal["pytorch", "onnx"]


class PassConfig(BaseModel):
    """Base of every pass's `Config`; the field descriptions are the option's documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class InstructionSet:
    """What the CPU of the target instance can do, as far as a pass must know it."""

    name: str = "avx2"
    vnni: bool = False
    """Adds 8-bit products without saturating (AVX-512 VNNI, AVX-VNNI, Arm dot product); else weights need 7 bits."""


@dataclass(frozen=True)
class Model:
    """A model between two passes."""

    format: Format
    directory: Path
    entry: str = ""
    """The file in `directory` that is the model, for instance `model.onnx`."""
    load: Callable[[], torch.nn.Module] | None = None
    """For `pytorch`: makes the live module, in eval mode. Called only when a pass really runs."""

    @property
    def path(self) -> Path:
        return self.directory / self.entry


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
    instruction_set: InstructionSet = InstructionSet()
    seed: int = 0
    progress: Callable[[str], None] = lambda message: None


class Pass(Protocol):
    """A module of this package. Its docstring's first line is what the documentation says of it."""

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
