"""Postal addresses of the United States and the spans of their parts: those of `corpus.py` that are committed."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
KINDS = ("NAME", "NUMBER", "STREET", "UNIT", "BOX", "PLACE", "STATE", "ZIP")
LABELS = ("O", *(f"{prefix}-{kind}" for kind in KINDS for prefix in "BI"))

Span = tuple[int, int, str]
"""First character, the one behind the last, kind."""
Samples = tuple[list[str], list[list[Span]]]


def evaluation(limit: int | None = None) -> Samples:
    """Addresses whose words in this combination training never saw, and their spans."""
    return _read("evaluation", limit)


def calibration(limit: int | None = None) -> Samples:
    """Addresses that neither training nor evaluation has."""
    return _read("calibration", limit)


def _read(part: str, limit: int | None) -> Samples:
    rows = json.loads((HERE / f"{part}.json").read_text(encoding="utf-8"))[:limit]
    return [text for text, _ in rows], [[(start, end, kind) for start, end, kind in spans] for _, spans in rows]
