"""Stories of BBC News and what each is about: of the parts of `examples/news_topics` a few stories of each topic."""

from __future__ import annotations

from examples.news_topics import data as news

Samples = tuple[list[str], list[int]]


def evaluation(limit: int | None = 100) -> Samples:
    """Documents, headline first, and the numbers of their topics; 20 of each topic by default."""
    return _part("evaluation", limit)


def calibration(limit: int | None = 64) -> Samples:
    """Documents that the evaluation does not have."""
    return _part("calibration", limit)


def _part(name: str, limit: int | None) -> Samples:
    texts, labels = news.part(name)
    chosen = [[index for index, label in enumerate(labels) if label == topic] for topic in range(len(news.TOPICS))]
    # One of each topic in turn, so that any limit leaves the topics equally many documents.
    turns = [row[turn] for turn in range(max(map(len, chosen))) for row in chosen if turn < len(row)][:limit]
    return [texts[index] for index in turns], [int(labels[index]) for index in turns]
