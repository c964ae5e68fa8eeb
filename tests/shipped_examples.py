"""The shipped specs and their networks, for the tests of the examples."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from model_build import loading
from model_build.sources import open_module
from model_build.spec import Spec

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


def read_specs(names: Iterable[str]) -> dict[str, Spec]:
    """By name; none of them may have a problem."""
    found, problems = loading.load_all(list(names), ROOT)
    assert not problems
    return {spec.name: spec for spec in found.values()}


def load_network(spec: Spec) -> torch.nn.Module:
    """With the committed weights, loaded strictly: a missing, foreign or misshapen tensor raises."""
    load = open_module(spec, ROOT).load
    assert load is not None
    return load()
