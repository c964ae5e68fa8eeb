"""Reads prices from the AWS Price List API into the committed table. The only module that asks AWS what things cost.

The API answers the same everywhere and is served in few regions; it needs `pricing:GetProducts` and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, Protocol

from infra.prices import KINDS, Part, RegionPrices, Table

API_REGION = "us-east-1"
SOURCE = "AWS Price List API, GetProducts"
_SERVERLESS = re.compile(r"ServerlessInf:Mem-(\d+)GB$")


class Pages(Protocol):
    def paginate(self, **request: Any) -> Iterable[Mapping[str, Any]]: ...


class PricingClient(Protocol):
    """What is used of boto3's `pricing` client."""

    def get_paginator(self, operation_name: Any, /) -> Any: ...


def refreshed(table: Table, regions: Iterable[str], client: PricingClient, today: date) -> Table:
    """The table with these regions' prices read anew.

    A part of which the API says nothing is left out, not kept: an old price beside new ones would look new. Raises
    ValueError for a region of which it says nothing at all.
    """
    found = dict(table.regions)
    for region in regions:
        prices = _read(client, region)
        if not any(prices.values()):
            raise ValueError(f"the Price List API lists nothing for the region '{region}'")
        found[region] = RegionPrices(
            **{
                kind: Part(date=today, source=SOURCE, prices=dict(sorted(values.items(), key=_by_name)))
                for kind, values in prices.items()
                if values
            }
        )
    return Table(regions=dict(sorted(found.items())))


def _read(client: PricingClient, region: str) -> dict[str, dict[str, float]]:
    prices: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for product in _products(client, "AmazonSageMaker", regionCode=region):
        attributes = product["product"]["attributes"]
        usage = str(attributes.get("usagetype", ""))
        price = _on_demand(product)
        if price is None:
            continue
        usd, unit = price
        if str(attributes.get("component", "")).lower() == "hosting" and unit.startswith("h"):
            name = str(attributes.get("instanceName") or attributes.get("instanceType", "")).lower()
            name = name.removesuffix("-hosting")
            if name.startswith("ml."):
                prices["instances"][name] = usd
        elif unit.startswith("sec") and (memory := _SERVERLESS.search(usage)):
            prices["serverless_seconds"][str(int(memory[1]) * 1024)] = usd
    for product in _products(client, "AmazonS3", regionCode=region, volumeType="Standard"):
        price = _on_demand(product)
        if price and str(product["product"]["attributes"].get("usagetype", "")).endswith("TimedStorage-ByteHrs"):
            prices["storage_months"]["s3"] = price[0]
    return prices


def _products(client: PricingClient, service: str, **wanted: str) -> Iterator[dict[str, Any]]:
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    pages: Pages = client.get_paginator("get_products")
    for page in pages.paginate(ServiceCode=service, Filters=filters, FormatVersion="aws_v1"):
        yield from (json.loads(text) for text in page["PriceList"])


def _on_demand(product: Mapping[str, Any]) -> tuple[float, str] | None:
    """USD and the unit in lower case, of the first tier; None where there is no price, or it is 0."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        tiers = sorted(term["priceDimensions"].values(), key=lambda tier: float(tier.get("beginRange", 0) or 0))
        for tier in tiers:
            usd = float(tier["pricePerUnit"].get("USD", 0))
            if usd > 0:
                return usd, str(tier["unit"]).lower()
    return None


def _by_name(item: tuple[str, float]) -> tuple[Any, ...]:
    """Families in alphabetical order, sizes by price."""
    name, price = item
    return (name.rpartition(".")[0], price) if "." in name else ("", float(name) if name.isdecimal() else 0)
