"""The training that passes share: the same weights every time on one machine, and from the last epoch after a kill.

Every epoch begins from its own seed, so what it does depends on the weights and the optimizer's state alone; those are
kept after each epoch. A pass brings the module and what is to be made small.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from model_build import machine
from model_build.cache import synchronise
from model_build.calling import parameter_names, select_outputs
from model_build.errors import UserError
from model_build.passes.base import Context, TrainingConfig

if TYPE_CHECKING:
    import torch

    from model_build.passes.base import Array, Batch

    Tensors = Mapping[str, torch.Tensor]
    Objective = Callable[[Tensors, torch.Tensor], torch.Tensor]
    """Encoded inputs and labels of some samples → their mean loss."""

WARM_UP = 0.1
"""Share of the steps in which the step size rises."""
_MODEL, _OPTIMIZER = "model.safetensors", "optimizer.pt"


def fit(
    module: torch.nn.Module,
    objective: Objective,
    config: TrainingConfig,
    context: Context,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Trains the module's parameters in place, `config.epochs` times over `context.training`; ends in eval mode.

    Raises UserError without data, with too little, or where the loss is no number any more.
    """
    import torch

    if not config.epochs:
        return
    samples = Samples(context)
    size = min(config.batch_size, len(samples))
    steps = len(samples) // size  # The rest of an epoch, other samples each time, is left out.
    with deterministic(config):
        optimizer = torch.optim.AdamW(
            module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, foreach=False
        )
        done = _resume(module, optimizer, context)
        if done:
            context.progress(f"going on after epoch {done}/{config.epochs}")
        for epoch in range(done, config.epochs):
            started, total = time.monotonic(), 0.0
            torch.manual_seed(config.seed * 100_003 + epoch)
            module.train()
            order = torch.randperm(len(samples))
            for step in range(steps):
                rate = schedule((epoch * steps + step) / (config.epochs * steps))
                for group in optimizer.param_groups:
                    group["lr"] = rate * config.learning_rate
                optimizer.zero_grad()
                for inputs, labels in samples.take(order[step * size : (step + 1) * size].tolist()):
                    loss = objective(inputs, labels) * (len(labels) / size)
                    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
                    total += float(loss.detach())
                if not math.isfinite(total):
                    raise UserError(f"training diverged in epoch {epoch + 1}", "lower learning_rate")
                optimizer.step()
                after_step()
            _keep(module, optimizer, epoch + 1, context)
            machine.pause()
            elapsed = time.monotonic() - started
            context.progress(f"epoch {epoch + 1}/{config.epochs}  loss {total / steps:.4f}  {elapsed:.1f} s")
    module.eval()


def schedule(share: float) -> float:
    """Factor of the step size after a share of all steps: up to 1 in a straight line, then down to 0 by a cosine."""
    if share < WARM_UP:
        return max(share, 1e-3) / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


def task_loss(module: torch.nn.Module, context: Context) -> Objective:
    """Cross-entropy of the first output with the labels."""
    import torch

    def loss(inputs: Tensors, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits(module, inputs, context), labels)

    return loss


def logits(module: torch.nn.Module, inputs: Tensors, context: Context) -> torch.Tensor:
    """The first output, float (batch, classes). Raises UserError where it has another shape."""
    names = parameter_names(module, inputs)
    result = module(**{parameter: inputs[name] for name, parameter in names.items()})
    output: torch.Tensor = select_outputs(result, context.output_names)[0]
    if output.ndim != 2:
        raise UserError(
            f"training needs outputs of the shape (batch, classes); {type(module).__name__} returns "
            f"{tuple(output.shape)}",
            "train only models that classify",
        )
    return output


@contextmanager
def deterministic(config: TrainingConfig) -> Iterator[None]:
    """Fixes the seed, the threads and the algorithms while it lasts, and leaves torch as it was."""
    import torch

    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
        torch.set_num_threads(config.threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.manual_seed(config.seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=lenient)
            torch.set_num_threads(threads)


class Samples:
    """The training data of a spec, by number. Raises UserError without any."""

    def __init__(self, context: Context) -> None:
        if context.training is None:
            raise UserError("training needs data", "give data.training in the spec, or epochs: 0")
        self.groups: list[tuple[Batch, Array]] = list(context.training())
        self.places = [(group, row) for group, (_, labels) in enumerate(self.groups) for row in range(len(labels))]

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: list[int]) -> Iterator[tuple[Tensors, torch.Tensor]]:
        """The samples as few batches: one of each shape, or one of all where a mask says what is padding."""
        import numpy as np
        import torch

        rows: dict[int, list[int]] = {}
        for number in chosen:
            group, row = self.places[number]
            rows.setdefault(group, []).append(row)
        parts = [
            ({name: array[which] for name, array in self.groups[group][0].items()}, self.groups[group][1][which])
            for group, which in sorted(rows.items())
        ]
        if len(parts) > 1 and "attention_mask" in parts[0][0]:
            inputs = {name: _padded([part[name] for part, _ in parts]) for name in parts[0][0]}
            parts = [(inputs, np.concatenate([labels for _, labels in parts]))]
        for part, labels in parts:
            yield {name: torch.from_numpy(array) for name, array in part.items()}, torch.from_numpy(labels)


def _padded(arrays: list[Array]) -> Array:
    """Arrays (n, length) under each other, with zeros up to the longest."""
    import numpy as np

    longest = max(array.shape[1] for array in arrays)
    return np.concatenate([np.pad(array, ((0, 0), (0, longest - array.shape[1]))) for array in arrays])


def _keep(module: torch.nn.Module, optimizer: torch.optim.Optimizer, epoch: int, context: Context) -> None:
    """Writes what the next epoch begins from, whole or not at all, and removes what the last one did."""
    import torch
    from safetensors.torch import save_model

    if context.work is None:
        return
    context.work.mkdir(parents=True, exist_ok=True)
    before = list(context.work.iterdir())
    scratch = context.work / f"tmp-{os.getpid()}-{secrets.token_hex(4)}"
    scratch.mkdir()
    save_model(module, str(scratch / _MODEL))
    torch.save(optimizer.state_dict(), scratch / _OPTIMIZER)
    for path in (scratch / _MODEL, scratch / _OPTIMIZER, scratch):
        synchronise(path)
    target = context.work / f"epoch-{epoch:04d}"
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)
    for old in before:
        shutil.rmtree(old, ignore_errors=True)


def _resume(module: torch.nn.Module, optimizer: torch.optim.Optimizer, context: Context) -> int:
    """Puts back what the last finished epoch left; returns how many epochs are done."""
    import torch
    from safetensors.torch import load_model

    kept = sorted(context.work.glob("epoch-*")) if context.work else []
    if not kept:
        return 0
    load_model(module, str(kept[-1] / _MODEL))
    # A pickle, read with an unpickler that makes nothing but tensors and plain values.
    optimizer.load_state_dict(torch.load(kept[-1] / _OPTIMIZER, weights_only=True))
    return int(kept[-1].name.removeprefix("epoch-"))
