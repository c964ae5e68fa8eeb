"""What Olive is told of Slipway's models and data: loaded by Olive, in its own environment, as its "user script".

Samples come encoded from a folder that `model_build.datasets` wrote: both sides see the same arrays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from olive.common.config_utils import CaseInsensitiveEnum
from olive.data.registry import Registry
from olive.engine.footprint import FootprintNode
from olive.telemetry.telemetry import Telemetry

PROJECT = Path(__file__).resolve().parents[1]

# Three faults of Olive 0.13, mended here so that it is measured at its best. It takes every dict for a possible
# resource, and with pydantic 2.14 the missing `type` of one ends the run.
_missing = CaseInsensitiveEnum._missing_.__func__
CaseInsensitiveEnum._missing_ = classmethod(lambda cls, value: _missing(cls, value) if isinstance(value, str) else None)

_update = FootprintNode.update


def _updated(node: FootprintNode, **values: Any) -> None:
    """Its field's name is `model_config_data`; set by the alias, every search point that reuses a model fails."""
    if "model_config" in values:
        values["model_config_data"] = values.pop("model_config")
    _update(node, **values)


FootprintNode.update = _updated

# With its telemetry off, as here, it counts events that never leave, and in the end waits two seconds for them.
Telemetry.shutdown = lambda self, *_, **__: None


class Batches:
    """The samples of a folder, in batches of equal shapes: a DataLoader without collation, as lengths differ."""

    def __init__(self, folder: str, size: int, limit: int | None) -> None:
        self.batches: list[tuple[dict[str, torch.Tensor], torch.Tensor]] = []
        left = limit
        for number, group in enumerate(json.loads(Path(folder, "index.json").read_text())):
            count = group["count"] if left is None else min(group["count"], left)
            left = None if left is None else left - count
            arrays = {name: np.load(Path(folder, f"{number}.{name}.npy"))[:count] for name in group["inputs"]}
            labels = np.load(Path(folder, f"{number}.labels.npy"))[:count]
            for start in range(0, count, size):
                part = slice(start, start + size)
                inputs = {name: torch.from_numpy(array[part].copy()) for name, array in arrays.items()}
                self.batches.append((inputs, torch.from_numpy(labels[part].copy())))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return self.batches[index]


@Registry.register_dataset("slipway_samples")
def samples(folder: str, size: int = 1, limit: int | None = None, **_: Any) -> Batches:
    return Batches(folder, size, limit)


@Registry.register_pre_process("slipway_nothing")
def nothing(dataset: Batches, **_: Any) -> Batches:
    return dataset


@Registry.register_dataloader("slipway_batches")
def batches(dataset: Batches, **_: Any) -> Any:
    return torch.utils.data.DataLoader(dataset, batch_size=None)  # type: ignore[arg-type]


@Registry.register_post_process("slipway_argmax")
def argmax(outputs: Any, **_: Any) -> torch.Tensor:
    if isinstance(outputs, dict):
        outputs = next(iter(outputs.values()))
    return torch.as_tensor(outputs).argmax(dim=-1)


def load(_: str | None = None) -> torch.nn.Module:
    """The source model of the spec that SLIPWAY_BENCH_MODEL names, as a build loads it."""
    import os
    import sys

    sys.path.insert(0, str(PROJECT))
    from model_build import loading
    from model_build.sources import open_module

    spec = loading.load(PROJECT / "specs" / f"{os.environ['SLIPWAY_BENCH_MODEL']}.yaml", PROJECT)
    opened = open_module(spec, PROJECT)
    if opened.load is None:
        raise TypeError(f"{spec.name} has no PyTorch source")
    return opened.load().eval()
