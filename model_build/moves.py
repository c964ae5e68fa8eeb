"""The moves of a search: the passes that it may add to a candidate, and to which.

A table apart from `search`, so that what is tried can be read, and grows, without the algorithm. A new pass is tried by
`optimize: auto` once it has a row here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from model_build.passes import PASSES
from model_build.passes.base import Format, needs_training
from model_build.spec import Step

Trait = Literal["linear", "conv", "embedding", "attention"]


@dataclass(frozen=True)
class Move:
    group: str
    """A candidate has one move of a group: two quantizers on top of each other are none better than one."""
    steps: tuple[tuple[str, Mapping[str, Any]], ...]
    """One after the other, each stronger than the one before: the next is tried where the last one helped."""
    needs: frozenset[Trait] = frozenset()
    """Kinds of layers, one of which the model must have."""
    beside: frozenset[str] = frozenset()
    """Passes, one of which the candidate must have for the move to make sense."""
    shares: tuple[str, ...] = ()
    """Options that are as that pass has them."""
    mends: bool = False
    """Whether it gives back accuracy that was lost: it is tried on what lost too much, too."""


def _move(
    group: str,
    name: str,
    *options: Mapping[str, Any],
    needs: Sequence[Trait] = (),
    beside: Sequence[str] = (),
    shares: Sequence[str] = (),
    mends: bool = False,
) -> Move:
    steps = tuple((name, one) for one in options or ({},))
    return Move(group, steps, frozenset(needs), frozenset(beside), tuple(shares), mends)


# In the order in which they are tried: cheap ones first, those that train last. No row: prune_weights, which changes
# nothing that is chosen by, and convert_litert, which is another platform.
MOVES: tuple[Move, ...] = (
    _move("graph", "optimize_graph"),
    _move("quantize", "quantize_dynamic", {"ops": ["linear"]}, needs=["linear"]),
    _move("quantize", "quantize_dynamic", {"ops": ["linear", "embedding"]}, needs=["embedding"]),
    _move("quantize", "quantize_static", needs=["linear", "conv"]),
    _move("quantize", "quantize_static", {"method": "percentile"}, needs=["linear", "conv"]),
    _move("quantize", "quantize_static", {"ops": ["conv"]}, needs=["conv"]),
    _move("store", "weight_only", needs=["embedding"]),
    _move("store", "float16", needs=["embedding"]),
    _move("layers", "drop_layers", *({"count": count} for count in (1, 2, 3, 4)), needs=["attention"]),
    _move("channels", "prune_channels", *({"ratio": ratio} for ratio in (0.25, 0.5, 0.75)), needs=["conv"]),
    # Teaches back what was cut away; without a cut, pupil and teacher are one.
    _move("teach", "distill", beside=["drop_layers", "prune_channels"], mends=True),
    _move("aware", "quantize_aware", beside=["quantize_static"], shares=["ops", "reduce_range"], mends=True),
)


def grown(
    steps: tuple[Step, ...],
    source: Format,
    traits: frozenset[Trait],
    *,
    calibration: bool,
    training: bool,
    mending: bool = False,
) -> Iterator[tuple[Step, ...]]:
    """The candidates that one move makes of one, in a fixed order: a pass added, or its next stronger setting.

    A pass for ONNX comes last; one for PyTorch before the export, so that what was found to help after it stays, and
    before those that mend what it does. `mending`: by the moves alone that give back accuracy.
    """
    if (PASSES[steps[-1].name].PRODUCES if steps else source) != "onnx":
        return
    position = _export(steps, source)
    for move in MOVES:
        if (move.needs and not move.needs & traits) or (mending and not move.mends):
            continue
        taken = [at for at, step in enumerate(steps) if step.name in _names(move.group)]
        if len(taken) > 1:
            continue
        strength = 0
        if taken:
            present = (steps[taken[0]].name, steps[taken[0]].options)
            if present not in move.steps[:-1]:
                continue
            strength = move.steps.index(present) + 1
        name, options = move.steps[strength]
        if move.beside:
            pair = next((step for step in steps if step.name in move.beside), None)
            if pair is None:
                continue
            options = {**options, **{one: pair.options[one] for one in move.shares if one in pair.options}}
        the_pass = PASSES[name]
        if the_pass.NEEDS_CALIBRATION and not calibration:
            continue
        try:
            config = the_pass.Config.model_validate(options)
        except ValidationError:  # the other pass is for layers that this one does not know
            continue
        if needs_training(config) and not training:
            continue
        step = Step(name=name, options=dict(options))
        if taken:
            yield (*steps[: taken[0]], step, *steps[taken[0] + 1 :])
        elif "onnx" in the_pass.ACCEPTS:
            yield (*steps, step)
        elif position is not None:
            at = next((at for at in range(position) if _rank(steps[at]) > _rank(step)), position)
            yield (*steps[:at], step, *steps[at:])


def traits(model: Path) -> frozenset[Trait]:
    """The kinds of layers with weights in an ONNX model; none of another format, which no move is for."""
    if model.suffix != ".onnx":
        return frozenset()
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {
        node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in weights
    }
    found: set[Trait] = set()
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in weights:
            found.add("linear")
        elif node.op_type == "Conv":
            found.add("conv")
        elif node.op_type == "Gather" and node.input[0] in weights:
            found.add("embedding")
        elif node.op_type in ("Softmax", "Attention", "MultiHeadAttention"):
            found.add("attention")
    return frozenset(found)


def _rank(step: Step) -> int:
    """Of passes for PyTorch: those that cut, what teaches back, what prepares for rounding."""
    if step.name == "distill" and not step.options.get("student"):
        return 1
    return 2 if step.name == "quantize_aware" else 0


def _names(group: str) -> set[str]:
    return {name for move in MOVES if move.group == group for name, _ in move.steps}


def _export(steps: Sequence[Step], source: Format) -> int | None:
    """Where the step stands that makes ONNX of PyTorch; None where the source is ONNX."""
    if source == "onnx":
        return None
    return next(at for at, step in enumerate(steps) if PASSES[step.name].PRODUCES == "onnx")
