"""The committed price table: USD by region, each part with its date and source. A price that is not in it is unknown.

Apart from the arithmetic of `cost`, and from `price_refresh`, which alone talks to AWS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from model_build.manifest import Frozen

TABLE = Path(__file__).with_name("tables") / "prices.json"

Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]  # nothing that is billed is free, so 0 would be a mistake


class TableError(Exception):
    """A committed table that cannot be read; the message says which and why."""


class Part(Frozen):
    """Prices of one kind in one region."""

    date: date
    source: str
    prices: Mapping[str, Price]


class RegionPrices(Frozen):
    instances: Part | None = Field(None, description="Instance type → USD an hour of one instance of an endpoint.")
    serverless_seconds: Part | None = Field(None, description="Memory in MiB → USD a second of processing.")
    storage_months: Part | None = Field(None, description="`s3` → USD a GB and month, first tier of S3 Standard.")

    def of(self, kind: str, key: str) -> float | None:
        """The price, or None where it is unknown."""
        part: Part | None = getattr(self, kind)
        return None if part is None else part.prices.get(key)

    @property
    def oldest(self) -> date | None:
        dates = [part.date for kind in KINDS if (part := getattr(self, kind)) is not None]
        return min(dates, default=None)


KINDS = tuple(RegionPrices.model_fields)


class Table(Frozen):
    format: Literal[1] = 1
    currency: Literal["USD"] = "USD"
    regions: Mapping[str, RegionPrices]

    def region(self, name: str) -> RegionPrices:
        """The region's prices; none at all for one that is not in the table."""
        return self.regions.get(name, RegionPrices())

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json", exclude_none=True), indent=1, ensure_ascii=False) + "\n"


def read(path: Path = TABLE) -> Table:
    """Raises TableError."""
    try:
        return Table.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TableError(f"{path}: the price table cannot be read ({error.strerror}); restore it from git") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TableError(f"{path}: not a price table ({where}: {first['msg']}); run: slipway prices refresh") from None


@cache
def committed() -> Table:
    return read()
