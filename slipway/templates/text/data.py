"""Requests to a help desk, composed from a few phrases: enough to see a model built. Replace them by your own.

A factory returns `(samples, labels)`. A sample of a text task is the text. Labels are int64.
"""

from __future__ import annotations

from itertools import product

import numpy as np

LABELS = ("money", "delivery", "account")
OPENINGS = ("Hello,", "Good morning,", "Please help,", "Hi there,", "Dear team,", "I have a question:")
REQUESTS = (
    (
        "I was charged twice", "when do I get my money back", "the invoice shows a wrong price",
        "my refund is still missing", "your discount was not taken off", "the payment by card was refused",
    ),
    (
        "my parcel has not arrived", "the box came broken", "where is the courier now",
        "can you ship to another address", "the delivery is a week late", "tracking shows no parcel",
    ),
    (
        "I forgot my password", "the login page locks me out", "please delete my account",
        "how do I change my email address", "someone signed in as me", "I cannot register a user",
    ),
)  # fmt: skip
ENDINGS = ("", "since yesterday", "for order 1203", "again", "and nobody answers")

Samples = tuple[list[str], np.ndarray]


def evaluation() -> Samples:
    """One opening and one ending are held out: the gates judge by texts that training has not seen."""
    return _composed(OPENINGS[-2:], ENDINGS[-1:])


def calibration() -> Samples:
    return training()


def training() -> Samples:
    return _composed(OPENINGS[:-2], ENDINGS[:-1])


def _composed(openings: tuple[str, ...], endings: tuple[str, ...]) -> Samples:
    texts, labels = [], []
    for label, requests in enumerate(REQUESTS):
        for opening, request, ending in product(openings, requests, endings):
            texts.append(f"{opening} {request} {ending}".strip())
            labels.append(label)
    return texts, np.array(labels, np.int64)
