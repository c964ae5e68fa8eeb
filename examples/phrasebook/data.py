"""The held-out phrases: English, and French as Unicode's CLDR has it."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).parent / "evaluation.jsonl"


def evaluation(limit: int | None = None) -> tuple[list[str], list[str]]:
    """100 phrases in English, and what is wanted in French. `train.py` writes the file."""
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()][:limit]
    return [row["english"] for row in rows], [row["french"] for row in rows]
