"""Palmer penguins: 344 birds with what was measured of each, some of it missing; 104 are kept for evaluation."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent

SPECIES = ("Adelie", "Chinstrap", "Gentoo")
TEXTS = ("island", "sex")
NUMBERS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
SPLIT_SEED = 20261124
EVALUATION = 104

Row = dict[str, Any]


def evaluation() -> tuple[list[Row], NDArray[np.int64]]:
    """Birds that training does not see, as an endpoint decodes them: column → value, None where there is none."""
    return split(seen=False)


def split(*, seen: bool) -> tuple[list[Row], NDArray[np.int64]]:
    """The birds for training or those for evaluation, with their species as indices, drawn by a fixed seed."""
    with (HERE / "penguins.csv").open(newline="", encoding="utf-8") as file:
        birds = list(csv.DictReader(file))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(birds))
    chosen = [birds[index] for index in (order[EVALUATION:] if seen else order[:EVALUATION])]
    rows = [
        {name: bird[name] or None for name in TEXTS}
        | {name: float(bird[name]) if bird[name] else None for name in NUMBERS}
        for bird in ({name: "" if cell == "NA" else cell for name, cell in bird.items()} for bird in chosen)
    ]
    return rows, np.array([SPECIES.index(bird["species"]) for bird in chosen], np.int64)
