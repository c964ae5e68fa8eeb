"""Leaves out whole layers of a transformer, then fine-tunes what is left.

Time and size fall with the layers, on any CPU; the top ones can be spared most easily (Sajjad et al. 2023, "On the
effect of dropping layers of pre-trained transformer models"). It pays where a fine-tuned encoder is deeper than its
task needs. Works for models that keep equal layers in one list, as Hugging Face's do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from model_build import architecture, training
from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, TrainingConfig

if TYPE_CHECKING:
    import torch

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"pytorch"})
PRODUCES: Format = "pytorch"
NEEDS_CALIBRATION = False


class Config(TrainingConfig):
    count: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="How many layers to leave out, by `which`. Left out: one, unless `drop` is given.",
    )
    which: Literal["top", "bottom", "alternate"] = Field(
        "top", description="The last ones, the first ones, or every other one, from the last but one downwards."
    )
    drop: tuple[int, ...] | None = Field(None, description="Or their numbers, from 0; -1 is the last.")
    layers: str | None = Field(None, description="Path of the list of layers. Left out: the longest list of the model.")
    learning_rate: float = Field(5e-5, gt=0, le=1, description="Highest step size of AdamW.")
    batch_size: int = Field(16, ge=1, le=65536, description="Samples of one optimizer step.")

    @model_validator(mode="after")
    def _one_way(self) -> Config:
        if self.count is not None and self.drop is not None:
            raise ValueError("give either count or drop")
        return self


def run(model: Model, config: Config, context: Context) -> Model:
    assert model.load is not None  # noqa: S101  # what ACCEPTS means
    module = model.load()
    plan = architecture.read(model)
    path, length = _layers(module, config.layers)
    dropped = _dropped(config, path, length)
    if dropped:
        edit = architecture.KeepLayers(layers=path, keep=tuple(one for one in range(length) if one not in dropped))
        edit.apply(module)
        plan = plan.edited(edit)
        context.progress(f"{path}: {length - len(dropped)} of {length} layers stay")
        training.fit(module, training.task_loss(module, context), config, context)
    return architecture.write(module, plan, context.output)


def _layers(module: torch.nn.Module, path: str | None) -> tuple[str, int]:
    """The path of the list of layers, and how many it has."""
    from torch import nn

    lists = {name: len(one) for name, one in module.named_modules() if name and isinstance(one, nn.ModuleList)}
    if path is not None:
        named = dict(module.named_modules()).get(path)
        if not path or not isinstance(named, (nn.ModuleList, nn.Sequential)):
            known = f"its lists: {', '.join(lists) or 'none'}"
            raise UserError(f"drop_layers: {type(module).__name__} has no list of layers '{path}'; {known}")
        return path, len(named)
    if not lists:
        raise UserError(
            f"drop_layers: {type(module).__name__} has no list of layers",
            "name a Sequential of equal layers in layers, or leave the candidate out",
        )
    longest = max(lists, key=lambda name: lists[name])
    return longest, lists[longest]


def _dropped(config: Config, path: str, length: int) -> set[int]:
    if config.drop is not None:
        if wrong := [one for one in config.drop if not -length <= one < length]:
            raise UserError(f"drop_layers: {path} has the layers 0 to {length - 1}, and no {wrong[0]}")
        dropped = {one % length for one in config.drop}
    else:
        count = 1 if config.count is None else config.count
        order = {
            "top": list(reversed(range(length))),
            "bottom": list(range(length)),
            "alternate": [*range(length - 2, -1, -2), *range(length - 1, -1, -2)],
        }
        dropped = set(order[config.which][:count])
        if count > length:
            raise UserError(f"drop_layers: {path} has {length} layers, and count is {count}")
    if len(dropped) == length:
        raise UserError(f"drop_layers: no layer of {path} would be left", "leave out fewer")
    return dropped
