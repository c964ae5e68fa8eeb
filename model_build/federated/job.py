"""What server and clients are told of one training: `job.json`, written by the build and carried by the app.

Apart since both read it, and the build, which has no Flower, writes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "job.json"
VARIABLE = "SLIPWAY_FEDERATED_JOB"
"""Where the file is, in processes that the build starts. Elsewhere it lies at the top of the app."""
APP = Path(__file__).resolve().parents[2]

ROUND = "slipway-round "
"""What a line begins with that says, as JSON, how a round went."""
WEIGHTS = "slipway-weights "
"""What the lines begin with that carry the weights where no file can: `NUMBER OF SHA256 BASE64`."""
FAILED = "slipway-failed "
"""What the line begins with that says why there is no result, as JSON: `message`, `next_step`."""


@dataclass(frozen=True)
class Job:
    """One training. Its numbers are those of `spec.FederatedSource`."""

    model: Mapping[str, Any]
    """`factory` and `args` of the module."""
    clients: Mapping[str, Any]
    """`factory`, `args` and, in a simulation, `number`."""
    serving: Mapping[str, Any]
    """What `ServingConfig.from_dict` takes."""
    outputs: tuple[str, ...]
    strategy: str
    proximal_mu: float
    rounds: int
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str
    momentum: float
    held_out: float
    fraction: float
    min_clients: int
    round_seconds: int
    seed: int
    threads: int
    root: str | None = None
    """The project's folder; None: the app's own."""
    weights: str | None = None
    """The safetensors file to write; None: the weights go into the log."""

    @property
    def project(self) -> Path:
        return Path(self.root) if self.root else APP

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def located(cls) -> Job:
        """That of this process."""
        path = Path(os.environ.get(VARIABLE) or APP / FILE)
        values = json.loads(path.read_bytes())
        return cls(**{**values, "outputs": tuple(values["outputs"])})
