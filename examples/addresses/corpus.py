"""Addresses labelled by hand, from the source archive of the package `usaddress`, as texts with spans.

Apart from `train` because it knows the archive; and from `data` because a build does not need it.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from examples.addresses.data import Span

FILES = ("labeled", "us50_messiest_manual_label", "us50_train_tagged", "multi_word_state_addresses")
KINDS = {
    "AddressNumber": "NUMBER",
    "StreetName": "STREET",
    "Occupancy": "UNIT",
    "Subaddress": "UNIT",
    "USPSBox": "BOX",
    "PlaceName": "PLACE",
    "StateName": "STATE",
    "Zip": "ZIP",
    "Recipient": "NAME",
    "BuildingName": "NAME",
    "LandmarkName": "NAME",
}
"""Beginning of the corpus's label → our kind; what it says of corners and countries is nothing here."""
EDGES = " ,;:-–#()&\n\t"
"""What stands between parts, although the corpus counts some of it to them."""


@dataclass(frozen=True)
class Address:
    text: str
    spans: tuple[Span, ...]

    @property
    def part(self) -> str:
        """Of a hundred combinations of words twenty are for evaluation, five for calibration."""
        words = sorted(set(re.findall(r"[a-z]+", self.text.lower())))
        place = int.from_bytes(hashlib.sha256(" ".join(words).encode()).digest()) % 100
        return "evaluation" if place < 20 else "calibration" if place < 25 else "train"


def read(archive: Path) -> list[Address]:
    """Every address once, in a fixed order. Raises SystemExit where the archive is not the one that is meant."""
    if not archive.is_file():
        raise SystemExit(f"{archive} is missing; run: pip download --no-deps --no-binary :all: usaddress==0.5.16")
    found: dict[str, Address] = {}
    with tarfile.open(archive) as stream:
        for file in FILES:
            member = stream.extractfile(f"usaddress-0.5.16/training/{file}.xml")
            if member is None:
                raise SystemExit(f"{archive} holds no {file}.xml; it must be usaddress 0.5.16")
            # The archive is pinned and the standard library's parser expands no outside entities.
            for element in ElementTree.fromstring(member.read()):  # noqa: S314
                address = _address(element)
                found.setdefault(address.text.lower(), address)
    return sorted(found.values(), key=lambda one: hashlib.sha256(one.text.encode()).digest())


def _address(element: ElementTree.Element) -> Address:
    text = ""
    spans: list[Span] = []
    for part in element:
        kind = next((name for beginning, name in KINDS.items() if part.tag.startswith(beginning)), None)
        content = re.sub(r"\s+", " ", part.text or "")
        start = len(text) + len(content) - len(content.lstrip(EDGES))
        text += content
        end = start + len(text[start:].rstrip(EDGES))
        if kind and end > start:
            before = spans[-1] if spans else None
            if before and before[2] == kind and not text[before[1] : start].strip():
                spans[-1] = (before[0], end, kind)
            else:
                spans.append((start, end, kind))
        text += re.sub(r"\s+", " ", part.tail or "")
    return Address(text.rstrip(), tuple(spans))
