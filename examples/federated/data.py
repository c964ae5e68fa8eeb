"""Four shops that each see some kinds of clothing more than others: Fashion-MNIST's test images, split by a fixed seed.

8,000 of the 10,000 images are the shops' own; the rest is for evaluation. How many images of a kind each shop has is
drawn from a Dirichlet distribution: at SKEW 0.5 some shops hardly have some kinds.
"""

from __future__ import annotations

import numpy as np

from examples.fashion import data as fashion

SEED = 20261124
EVALUATION = 2000
SKEW = 0.5


def evaluation(limit: int | None = None) -> fashion.Samples:
    """Images (n, 28, 28) that no shop has, and labels (n,)."""
    images, labels = fashion.evaluation()
    rows = _order(len(labels))[:EVALUATION][:limit]
    return images[rows], labels[rows]


def shop(partition: int, partitions: int) -> fashion.Samples:
    """The images of one shop; the only one has them all."""
    images, labels = fashion.evaluation()
    random = np.random.default_rng((SEED, partitions))
    own = np.sort(_order(len(labels))[EVALUATION:])
    chosen = []
    for kind in range(labels.max() + 1):
        rows = own[labels[own] == kind]
        ends = np.cumsum(random.dirichlet([SKEW] * partitions)) * len(rows)
        start = 0 if partition == 0 else round(ends[partition - 1])
        chosen.append(rows[start : round(ends[partition])])
    mine = np.sort(np.concatenate(chosen))
    return images[mine], labels[mine]


def _order(count: int) -> np.ndarray:
    return np.random.default_rng(SEED).permutation(count)
