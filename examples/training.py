"""What the training scripts share: a seeded start, the loop, the measured accuracy, the record of a run.

It is apart from the model folders because no factory reads it: a change here rebuilds no model.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
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


def fit(
    network: nn.Module,
    samples: int,
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    *,
    epochs: int,
    batch: int,
    peak_rate: float,
    before_epoch: Callable[[], None] = lambda: None,
) -> nn.Module:
    """Trains by AdamW, its step size rising and falling once; gives the network of the last epoch, in eval mode.

    `loss_of` gets the numbers of a batch's samples, 0 to `samples`, in a new random order every epoch.
    """
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = samples // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=epochs * steps)
    for epoch in range(1, epochs + 1):
        network.train()
        began, total = time.monotonic(), 0.0
        before_epoch()
        order = torch.randperm(samples)
        for step in range(steps):
            loss = loss_of(order[step * batch : (step + 1) * batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch}/{epochs}  loss {total / steps:.4f}  {time.monotonic() - began:.0f} s", flush=True)
    return network.eval()


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
    metric: str = "accuracy",
    file: str = "training.json",
    **facts: Any,
) -> None:
    """Prints and writes a record of how the committed weights came about and the accuracy that they reached."""
    run = {
        "metric": metric,
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
