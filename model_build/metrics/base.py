"""What a metric says. Apart so that a metric can import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    value: float
    """0 to 1, higher is better."""
    details: Mapping[str, float] = field(default_factory=dict)
    """Further figures by the name and in the unit that the field uses, for instance `bleu` 0 to 100."""
