"""How a benchmark tells its outcome: figures as JSON in build/bench/, a table for docs/benchmarks.md, its bars last."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BUILD = Path(__file__).parents[1] / "build" / "bench"


@dataclass(frozen=True)
class Bar:
    """A figure and what it must hold. `at_least` false: at most."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def held(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        relation = "at least" if self.at_least else "at most"
        return f"{'holds ' if self.held else 'MISSED'} {self.what}: {self.value:.4g} (bar: {relation} {self.limit:g})"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (heading, ["---"] * len(heading), *rows)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def tell(name: str, figures: Mapping[str, Any], shown: str, bars: Sequence[Bar]) -> int:
    """Writes the figures, prints table and bars, and gives the exit code: 1 where a bar is missed."""
    from model_build import targets

    BUILD.mkdir(parents=True, exist_ok=True)
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": targets.cpu_model(),
        "python": platform.python_version(),
    }
    content = {**about, "figures": dict(figures), "bars": [asdict(bar) | {"held": bar.held} for bar in bars]}
    (BUILD / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(shown)
    for bar in bars:
        print(bar)
    return 0 if all(bar.held for bar in bars) else 1
