"""Removes the weakest channels of convolutions and linear layers for good, then fine-tunes what is left.

What is gone costs neither time nor memory, on any CPU: half of the channels are a quarter of a convolution's work. It
pays for networks wider than their task needs. Channels that belong together, across residual sums and concatenations,
go together (Fang et al. 2023, "DepGraph", by torch-pruning); the output layer keeps its classes. Layers of transformers
are better left out whole: drop_layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from model_build import architecture, training
from model_build.calling import parameter_names, select_outputs
from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, TrainingConfig
from model_build.quiet import quiet

if TYPE_CHECKING:
    import torch

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"pytorch"})
PRODUCES: Format = "pytorch"
NEEDS_CALIBRATION = False


class Config(TrainingConfig):
    ratio: float = Field(0.5, ge=0, lt=1, description="Share of the channels that is removed.")
    norm: Literal["l1", "l2"] = Field("l2", description="How large a channel's weights are, to remove the smallest.")
    scope: Literal["layer", "global"] = Field(
        "layer", description="The share of each layer, or of all together, so that some lose more than others."
    )
    round_to: int = Field(
        8, ge=1, le=256, description="What is left is rounded down to a multiple of it, as CPUs compute in vectors."
    )
    skip: tuple[str, ...] = Field((), description="Paths of layers, or of what holds them, that keep their channels.")


def run(model: Model, config: Config, context: Context) -> Model:
    import torch

    assert model.load is not None  # noqa: S101  # what ACCEPTS means
    module = model.load()
    plan = architecture.read(model)
    if config.ratio:
        inputs = {name: torch.from_numpy(array) for name, array in context.example().items()}
        example = {parameter: inputs[name] for name, parameter in parameter_names(module, inputs).items()}
        before = architecture.snapshot(module)
        wanted = [tuple(output.shape) for output in _outputs(module, example, context)]
        _prune(module, example, config, context)
        edits = list(architecture.resized(before, module))
        _check(module, example, wanted, context)
        if not edits:
            raise UserError(
                f"prune_channels: no layer can lose {config.ratio:.0%} of its channels and keep a multiple of "
                f"{config.round_to}",
                "raise ratio, lower round_to, or leave the candidate out",
            )
        plan = plan.edited(*edits)
        context.progress(f"{_count(before):,} parameters became {_count(architecture.snapshot(module)):,}")
        training.fit(module, training.task_loss(module, context), config, context)
    return architecture.write(module, plan, context.output)


def _prune(module: torch.nn.Module, example: Mapping[str, torch.Tensor], config: Config, context: Context) -> None:
    import torch_pruning

    kept = [*_output_layers(module, example, context), *_named(module, config.skip)]
    try:
        with quiet():
            pruner = torch_pruning.pruner.BasePruner(
                module,
                dict(example),
                importance=torch_pruning.importance.GroupMagnitudeImportance(p={"l1": 1, "l2": 2}[config.norm]),
                pruning_ratio=config.ratio,
                max_pruning_ratio=max(config.ratio, 0.9),  # globally, no layer vanishes
                global_pruning=config.scope == "global",
                round_to=config.round_to,
                ignored_layers=kept,
                # Its defaults are shared by all pruners of the process.
                in_channel_groups={},
                out_channel_groups={},
                num_heads={},
                channel_groups={},
            )
            pruner.step()
    except Exception as error:  # whatever it meets in the user's code
        raise _unfit(module, str(error)) from error


def _output_layers(
    module: torch.nn.Module, example: Mapping[str, torch.Tensor], context: Context
) -> list[torch.nn.Module]:
    """The linear layers and convolutions that outputs come from with no other such layer after them."""
    import torch
    from torch import nn

    made: dict[Any, torch.nn.Module] = {}

    def note(layer: torch.nn.Module, _: Any, output: torch.Tensor) -> None:
        made[output.grad_fn] = layer

    layers = [one for one in module.modules() if isinstance(one, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.enable_grad():
            outputs = _outputs(module, example, context)
    finally:
        for hook in hooks:
            hook.remove()
    # From the outputs backwards through what computed them, up to the first layer on every way.
    found, seen = [], set()
    ahead = [output.grad_fn for output in outputs]
    while ahead:
        step = ahead.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        if step in made:
            found.append(made[step])
        else:
            ahead += [before for before, _ in step.next_functions]
    return found


def _outputs(
    module: torch.nn.Module, example: Mapping[str, torch.Tensor], context: Context
) -> tuple[torch.Tensor, ...]:
    return select_outputs(module(**example), context.output_names)


def _named(module: torch.nn.Module, skip: tuple[str, ...]) -> list[torch.nn.Module]:
    known = dict(module.named_modules())
    if unknown := [path for path in skip if path not in known]:
        raise UserError(f"prune_channels: skip names {', '.join(unknown)}, which the model does not have")
    return [known[path] for path in skip]


def _check(
    module: torch.nn.Module, example: Mapping[str, torch.Tensor], wanted: list[tuple[int, ...]], context: Context
) -> None:
    """Raises UserError where the pruned module does not run, or its outputs changed their shapes."""
    import torch

    try:
        with torch.no_grad():
            shapes = [tuple(output.shape) for output in _outputs(module, example, context)]
    except Exception as error:  # a forward that counts on the old sizes may raise anything
        raise _unfit(module, str(error)) from error
    if shapes != wanted:
        raise _unfit(module, f"its outputs became {shapes}, and were {wanted}")


def _unfit(module: torch.nn.Module, reason: str) -> UserError:
    return UserError(
        f"prune_channels: {type(module).__name__} cannot lose channels: {' '.join(reason.split())[:300]}",
        "name in skip the layers whose sizes its forward relies on, or that are concatenated and then flattened; of a "
        "transformer, drop_layers takes whole layers",
    )


def _count(sizes: architecture.Snapshot) -> int:
    from math import prod

    return sum(prod(shape) for _, shapes in sizes.values() for shape in shapes.values())
