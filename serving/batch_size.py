"""How many waiting requests one run of the model should answer, learned from what runs of each size took.

Pure, and apart from threads and queues. A batch is worth its size only where it makes a request cheaper: for a small
model nearly always, for a large one on few cores often not at all.
"""

from __future__ import annotations

_GAIN = 0.97
"""A larger size must make a request at least 3 % cheaper, or it only makes the first one wait for the last."""
_TRIALS = 3
"""Runs before a size is judged, by the quickest: the first run of a shape pays for its memory."""
_SMOOTHING = 0.1
_LOOK_AROUND = 64
_LOOK_AHEAD = 2
"""Sizes tried beyond the best: each costs memory for its activations, and costs have one valley."""


class BatchSize:
    """The learned size: a power of two of at most `largest`, whose runs take at most `longest` seconds."""

    def __init__(self, largest: int, longest: float) -> None:
        self.limit = 1
        self._largest = largest
        self._longest = longest
        buckets = largest.bit_length()
        self._costs = [0.0] * buckets
        self._trials = [0] * buckets
        self._turn = 0

    def next(self, waiting: int) -> int:
        """How many of `waiting` requests to take now. Never more than there are: nobody waits for company."""
        if waiting <= 1 or self._largest == 1:
            return 1
        wanted = self.limit
        self._turn += 1
        if self._turn % _LOOK_AROUND == 0:  # costs change with the load and the requests: look at the neighbours again
            larger = self._turn // _LOOK_AROUND % 2 == 0
            wanted = min(wanted * 2, self._largest) if larger else max(wanted // 2, 1)
        return min(waiting, wanted)

    def note(self, size: int, seconds: float) -> None:
        """Learns from a run that answered `size` requests."""
        bucket = min(size.bit_length(), len(self._costs)) - 1
        cost = seconds / size
        if self._trials[bucket] < _TRIALS:
            self._costs[bucket] = min(cost, self._costs[bucket]) if self._trials[bucket] else cost
            self._trials[bucket] += 1
        else:
            self._costs[bucket] += _SMOOTHING * (cost - self._costs[bucket])
        self.limit = self._best()

    def _best(self) -> int:
        best = 0
        for bucket, cost in enumerate(self._costs):
            known = self._trials[bucket] >= _TRIALS
            expected = (cost if known else self._costs[best]) * (1 << bucket)
            if bucket and (expected > self._longest or bucket > best + _LOOK_AHEAD):
                break
            if not known:
                return 1 << bucket  # to be tried as soon as so many wait
            if cost < _GAIN * self._costs[best]:
                best = bucket
        return 1 << best
