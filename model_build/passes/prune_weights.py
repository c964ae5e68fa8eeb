"""Sets the smallest weights to zero: a smaller download once compressed, and no time saved.

The zeros stay in the matrices, and no common CPU kernel skips them: latency, memory and the size on disk are as before.
What shrinks is `model.tar.gz`, as zeros compress well; it is worth it where that is what hurts. Weights are ranked by
magnitude (Han et al. 2015, "Learning both Weights and Connections"), and fine-tuning keeps the zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from model_build import architecture, training
from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, TrainingConfig

if TYPE_CHECKING:
    import torch

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"pytorch"})
PRODUCES: Format = "pytorch"
NEEDS_CALIBRATION = False
CAVEAT = "has zeros in place of weights: only the download shrinks by them, once compressed; time and memory do not"
"""Shown in the report."""


class Config(TrainingConfig):
    ratio: float = Field(0.5, ge=0, lt=1, description="Share of the weights that become zero.")
    norm: Literal["l1", "l2"] = Field(
        "l1",
        description="How large a block is: the sum of its magnitudes, or of its squares. Of blocks of 1 both agree.",
    )
    block: int = Field(
        1, ge=1, le=1024, description="Neighbouring weights of one output that are kept or dropped together."
    )
    scope: Literal["global", "layer"] = Field(
        "global", description="The share of all layers together, so that some lose more than others, or of each."
    )
    skip: tuple[str, ...] = Field((), description="Paths of layers, or of what holds them, that are left as they are.")
    epochs: int = Field(0, ge=0, le=1000, description="Of fine-tuning on `data.training`, the zeros held; 0 is none.")


def run(model: Model, config: Config, context: Context) -> Model:
    import torch

    assert model.load is not None  # noqa: S101  # what ACCEPTS means
    module = model.load()
    if config.ratio:
        weights = _weights(module, config.skip)
        with torch.no_grad():
            masks = _masks(weights, config)

        def zero() -> None:
            with torch.no_grad():
                for weight, mask in zip(weights, masks, strict=True):
                    weight.mul_(mask)

        zero()
        training.fit(module, training.task_loss(module, context), config, context, after_step=zero)
        zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
        context.progress(f"{zeros:.0%} of the weights are zero: only the download shrinks, not time or memory")
    return architecture.write(module, architecture.read(model), context.output)


def _weights(module: torch.nn.Module, skip: tuple[str, ...]) -> list[torch.Tensor]:
    """The matrices and kernels of linear layers and convolutions, each once."""
    from torch import nn

    paths = {name for name, _ in module.named_modules()}
    if unknown := [path for path in skip if path not in paths]:
        raise UserError(f"prune_weights: skip names {', '.join(unknown)}, which the model does not have")
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = [
        layer
        for name, layer in module.named_modules()
        if isinstance(layer, kinds) and not any(name == path or name.startswith(f"{path}.") for path in skip)
    ]
    if not layers:
        raise UserError(
            "prune_weights: the model has no linear layers or convolutions to prune", "leave the candidate out"
        )
    return list({layer.weight: None for layer in layers})


def _masks(weights: list[torch.Tensor], config: Config) -> list[torch.Tensor]:
    """1 for weights to keep, 0 for the others."""
    import torch

    sizes = [_block_sizes(weight, config) for weight in weights]
    if config.scope == "global":
        cut = _cut(torch.cat([size.flatten() for size in sizes]), config.ratio)
        kept = torch.split(cut, [size.numel() for size in sizes])
    else:
        kept = tuple(_cut(size.flatten(), config.ratio) for size in sizes)
    return [
        block.view(size.shape)
        .repeat_interleave(config.block, 1)[:, : weight[0].numel()]
        .reshape(weight.shape)
        .to(weight.dtype)
        for weight, size, block in zip(weights, sizes, kept, strict=True)
    ]


def _block_sizes(weight: torch.Tensor, config: Config) -> torch.Tensor:
    """(outputs, blocks): the mean magnitude or square of each block of a row; the mean, as the last may be shorter."""
    import torch

    rows = weight.flatten(1).abs() if config.norm == "l1" else weight.flatten(1).square()
    missing = -rows.shape[1] % config.block
    sums = torch.nn.functional.pad(rows, (0, missing)).reshape(len(rows), -1, config.block).sum(2)
    lengths = torch.full((sums.shape[1],), float(config.block))
    lengths[-1] -= missing
    return sums / lengths


def _cut(sizes: torch.Tensor, ratio: float) -> torch.Tensor:
    """Whether each is among those to keep: all but the smallest share, the first of equal ones dropped first."""
    import torch

    kept = torch.ones(len(sizes), dtype=torch.bool)
    kept[sizes.argsort(stable=True)[: round(len(sizes) * ratio)]] = False
    return kept
