"""The candidates of a spec as paths through one tree: each step has the key of what it makes.

Keys are known before anything runs, so that what is in the cache needs neither its parents nor a heavy import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_build import cache
from model_build.inputs import versions as installed
from model_build.passes import PASSES
from model_build.passes.base import InstructionSet, Pass, PassConfig, RoundingConfig, needs_training
from model_build.spec import Optimize
from model_build.spec import Step as Given


@dataclass(frozen=True)
class Step:
    name: str
    label: str
    """The name with the options that the spec gives."""
    the_pass: Pass
    config: PassConfig
    key: str


@dataclass(frozen=True)
class Candidate:
    label: str
    """The labels of its steps joined by ' → '."""
    steps: tuple[Step, ...]
    given: tuple[Given, ...] = ()
    """The steps as they were given."""


def plan(
    optimize: Optimize,
    source_key: str,
    preprocessing_key: str,
    calibration_key: str | None,
    training_key: str | None,
    option_inputs: Callable[[Given], Any],
    instruction_set: InstructionSet,
    versions: Mapping[str, str],
) -> list[Candidate]:
    """The candidates in the spec's order. What a spec leaves to the target is decided here: it is part of the key.

    `option_inputs` gives the digests of the files that a step's options name.
    """
    candidates = []
    for given in optimize.candidates:
        key = source_key
        steps = []
        for step in given:
            the_pass = PASSES[step.name]
            config = _decided(the_pass.Config.model_validate(step.options), instruction_set)
            key = cache.key(
                "pass",
                name=step.name,
                version=the_pass.VERSION,
                config=config.model_dump(mode="json"),
                input=key,
                preprocessing=preprocessing_key,
                calibration=calibration_key if the_pass.NEEDS_CALIBRATION else None,
                training=training_key if needs_training(config) else None,
                options=option_inputs(step),
                versions={**versions, **installed(getattr(the_pass, "LIBRARIES", ()))},
            )
            steps.append(Step(step.name, _label(step.name, step.options), the_pass, config, key))
        label = " → ".join(step.label for step in steps) or "as it is"
        candidates.append(Candidate(label, tuple(steps), tuple(given)))
    return candidates


def _decided(config: PassConfig, instruction_set: InstructionSet) -> PassConfig:
    """`reduce_range` that the spec leaves open: 7-bit weights unless every CPU concerned has VNNI."""
    if isinstance(config, RoundingConfig):
        return config.model_copy(update={"reduce_range": config.narrow(instruction_set)})
    return config


def _label(name: str, options: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{option}={_shown(value)}" for option, value in options.items())
    return f"{name}({shown})" if shown else name


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value["factory"]) if "factory" in value else "+".join(f"{key}:{_shown(value[key])}" for key in value)
    if isinstance(value, (list, tuple)):
        return "+".join(_shown(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
