"""What the three training scripts share: a seeded start, the measured accuracy, the record of a run.

It is apart from the model folders because no factory reads it: a change here rebuilds no model.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

SEED = 20261124
THREADS = 2


def start() -> None:
    """Makes a run repeatable on one kind of machine: seed, threads (they change the order of sums), algorithms."""
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)


@torch.inference_mode()
def accuracy(model: nn.Module, inputs: tuple[torch.Tensor, ...], labels: torch.Tensor, batch: int = 256) -> float:
    """Share of samples, 0…1, whose highest logit is the label's. The model is left in evaluation mode."""
    model.eval()
    logits = torch.cat([model(*(part[i : i + batch] for part in inputs)) for i in range(0, len(labels), batch)])
    return float((logits.argmax(1) == labels).float().mean())


def record(
    folder: Path,
    *,
    score: float,
    samples: int,
    packages: tuple[str, ...] = (),
    file: str = "training.json",
    **facts: Any,
) -> None:
    """Prints and writes a record of how the committed weights came about and the accuracy that they reached."""
    run = {
        "metric": "accuracy",
        "score": round(score, 4),
        "samples": samples,
        "seed": SEED,
        "threads": THREADS,
        **facts,
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("torch", "numpy", *packages)},
    }
    text = json.dumps(run, indent=2) + "\n"
    (folder / file).write_text(text, encoding="utf-8")
    print(text, end="")
