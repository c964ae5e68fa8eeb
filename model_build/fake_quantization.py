"""Makes a PyTorch module compute as its 8-bit version will, while it is trained: it learns to live with the rounding.

Apart from the pass `quantize_aware` since its classes are torch's, which only a pass that runs may import. Weights are
rounded for each output channel, inputs of a layer over one range, both as ONNX Runtime's static quantization does; the
gradient passes the rounding as if it were not there (Jacob et al. 2018, in full in `quantize_aware`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LAYERS: dict[str, tuple[type[nn.Module], ...]] = {
    "linear": (nn.Linear,),
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
}
MOMENTUM = 0.1
"""Share of a batch's range in the running one."""
_RANGE = "input_range"


def layers(module: nn.Module, kinds: tuple[str, ...]) -> list[nn.Module]:
    """The layers of some kinds, each once."""
    wanted = tuple(layer for kind in kinds for layer in LAYERS[kind])
    return [one for one in module.modules() if isinstance(one, wanted)]


@contextmanager
def rounding(layers: list[nn.Module], *, reduce_range: bool, activations: bool) -> Iterator[None]:
    """Rounds the layers' weights, and if wanted their inputs, while it lasts; then they are plain layers again."""
    hooks = []
    try:
        for layer in layers:
            # `unsafe` skips a trial run that would change nothing here but the random state.
            parametrize.register_parametrization(layer, "weight", RoundedWeight(reduce_range), unsafe=True)
            if activations:
                layer.add_module(_RANGE, RoundedInput())
                hooks.append(layer.register_forward_pre_hook(_round_first, with_kwargs=True))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            if hasattr(layer, _RANGE):
                delattr(layer, _RANGE)


class RoundedWeight(nn.Module):
    """A weight (outputs, …) → itself on the grid of int8, symmetric, one scale for each output."""

    def __init__(self, reduce_range: bool) -> None:
        super().__init__()
        self.largest = 64 if reduce_range else 127

    def forward(self, weight: Tensor) -> Tensor:
        scales = weight.detach().flatten(1).abs().amax(1).clamp_min(1e-12) / self.largest
        zero_points = torch.zeros(len(weight), dtype=torch.int32)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(
            weight, scales, zero_points, 0, -self.largest, self.largest
        )
        return rounded


class RoundedInput(nn.Module):
    """A layer's input → itself on the grid of uint8 over the running range of the batches so far."""

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("low", "high", "seen"):  # kept with the weights, so that training can go on from them
            self.register_buffer(name, torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            self._follow(values.detach())
        # Zero must lie on the grid, as padding is exact.
        low, high = self.low.clamp_max(0), self.high.clamp_min(0)
        scale = ((high - low) / 255).clamp_min(1e-12)
        zero_point = torch.round(-low / scale).clamp(0, 255).to(torch.int32)
        rounded: Tensor = torch.fake_quantize_per_tensor_affine(values, scale, zero_point, 0, 255)
        return rounded

    def _follow(self, values: Tensor) -> None:
        momentum = MOMENTUM if self.seen else 1.0
        self.low.lerp_(values.amin(), momentum)
        self.high.lerp_(values.amax(), momentum)
        self.seen.fill_(1)


def _round_first(
    layer: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Rounds what a layer is given, by position or as `input`."""
    rounded = layer.get_submodule(_RANGE)
    if given:
        return (rounded(given[0]), *given[1:]), named
    return given, named | {"input": rounded(named["input"])}
