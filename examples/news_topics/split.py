"""Divides BBC News into parts that share no story, and writes `split.json`: `python -m examples.news_topics.split`.

It is apart from `data` because the comparison of all documents takes seconds: the result is committed.
The corpus tells many stories twice, word for word or nearly so, under one headline or two. Were the copies dealt to
different parts, evaluation would be on texts that training has seen.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from itertools import combinations

from examples.news_topics import data

RUN = 8  # Words in a row that two documents share only if one was written from the other.
OVERLAP = 0.1  # Of the shorter document's runs: beyond it, both tell the same story.
EVALUATION, CALIBRATION = 667, 128  # Of 1,968 stories: a third, so that one document is 0.0015 of accuracy.


def main() -> None:
    split = divide(data.documents())
    data.SPLIT.write_text(json.dumps(split, indent=1) + "\n", encoding="utf-8")
    print({part: len(split[part]) for part in ("train", "calibration", "evaluation")})


def divide(documents: dict[str, str]) -> dict[str, str | list[str]]:
    """What `split.json` holds: the corpus's digest, and the names of each part's documents."""
    # A story is told by its first document alone, so that no sample counts twice; its hash deals the stories out.
    chosen = sorted(
        (min(story) for story in group(documents)), key=lambda name: hashlib.sha256(documents[name].encode()).digest()
    )
    return {
        "corpus": data.digest(documents),
        "evaluation": sorted(chosen[:EVALUATION]),
        "calibration": sorted(chosen[EVALUATION : EVALUATION + CALIBRATION]),
        "train": sorted(chosen[EVALUATION + CALIBRATION :]),
    }


def group(documents: dict[str, str]) -> list[set[str]]:
    """The documents' names as sets that tell one story each; a document that is like no other is a set of its own."""
    runs = {name: _runs(text) for name, text in documents.items()}
    holders: dict[int, list[str]] = defaultdict(list)
    for name, own in runs.items():
        for run in own:
            holders[run].append(name)
    shared = Counter(pair for names in holders.values() for pair in combinations(sorted(names), 2))
    story = {name: {name} for name in documents}
    for (one, other), count in shared.items():
        if count > OVERLAP * min(len(runs[one]), len(runs[other])) and story[one] is not story[other]:
            story[one] |= story[other]
            for name in story[other]:
                story[name] = story[one]
    return list({id(names): names for names in story.values()}.values())


def _runs(text: str) -> set[int]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {hash(tuple(words[i : i + RUN])) for i in range(max(1, len(words) - RUN + 1))}


if __name__ == "__main__":
    main()
