"""Which passes do not pay: a candidate that is no better than one of the others with some of its passes left out.

Apart from `gates`, which compares with limits that people set: here candidates are compared with one another.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf, sqrt
from pathlib import Path

from model_build.candidates import Candidate
from model_build.evidence import Evidence
from model_build.paired import Estimate, ratio

SMALLER = 0.99
"""Of a size: what saves less than a hundredth is not called smaller."""
FASTER = 0.98
"""Of a median latency: two processes of one and the same model differ by as much, in all rounds of theirs."""
DEVIATIONS = 2
"""Standard deviations of the score that a gain must exceed, to be more than luck."""
CHUNK = 1 << 20


def dropped(
    candidates: Sequence[Candidate],
    evidence: Mapping[str, Evidence],
    passing: Mapping[str, bool],
    files: Mapping[str, Path],
) -> dict[str, str]:
    """Label → why, of each candidate whose further passes do not pay.

    A base is a candidate with some of its passes left out that passes every gate; so what is left still has all that
    is worth having. `files` are the models, which are compared once compressed where nothing else differs.
    """
    reasons = {}
    for one in candidates:
        bases = [base for base in candidates if passing[base.label] and _is_part(base, one)]
        for base in sorted(bases, key=lambda base: -len(base.steps)):
            faster = bounds(evidence, base, one)[1] < FASTER
            why = unpaid(evidence[base.label], evidence[one.label], files[base.label], files[one.label], faster)
            if why:
                reasons[one.label] = f"{_added(base, one)} does not pay: {why} {base.label}"
                break
    return reasons


def unclear(candidates: Sequence[Candidate], evidence: Mapping[str, Evidence], passing: Mapping[str, bool]) -> set[str]:
    """The labels of candidates, and of what they stand on, that may be faster and that noise leaves open."""
    pairs = [
        (base, one)
        for one in candidates
        for base in candidates
        if passing[base.label] and passing[one.label] and _is_part(base, one) and not _smaller(evidence, base, one)
    ]
    found = [(base, one) for base, one in pairs if (between := bounds(evidence, base, one))[0] < FASTER <= between[1]]
    return {label for pair in found for label in (pair[0].label, pair[1].label)}


def bounds(evidence: Mapping[str, Evidence], base: Candidate, one: Candidate) -> tuple[float, float]:
    """Between what the ratio of the median latencies is."""
    return speed(evidence[base.label], evidence[one.label]).interval or (0.0, inf)


def speed(base: Evidence, one: Evidence) -> Estimate:
    """The latency of `one` as a share of its base's, round by round."""
    return ratio([p50 for p50, _ in one.latency.rounds], [p50 for p50, _ in base.latency.rounds])


def _smaller(evidence: Mapping[str, Evidence], base: Candidate, one: Candidate) -> bool:
    return evidence[one.label].measurement.size_mb < evidence[base.label].measurement.size_mb * SMALLER


def unpaid(base: Evidence, one: Evidence, base_file: Path, file: Path, faster: bool) -> str:
    """Why what was done to `base` does not pay, ending in words that its label follows; empty where it does.

    It pays to be smaller, on disk or once compressed, `faster` as the caller judges it, or more accurate beyond the
    luck of the samples.
    """
    before, after = base.measurement, one.measurement
    if faster or after.size_mb < before.size_mb * SMALLER:
        return ""
    if before.score is not None and after.score is not None:
        deviation = sqrt(max(before.score * (1 - before.score), 0) / before.samples)
        if after.score - before.score > DEVIATIONS * deviation:
            return ""
    if file.read_bytes() == base_file.read_bytes():
        return "it changed nothing of"
    if compressed(file) < compressed(base_file) * SMALLER:
        return ""
    found = speed(base, one)
    between = f" ({found.interval[0]:.3f} to {found.interval[1]:.3f})" if found.interval else ""
    return f"× {found.value:.3f}{between} the time, × {after.size_mb / before.size_mb:.3f} the size of"


def compressed(path: Path) -> int:
    """Bytes of a file once compressed, quickly: to compare, not to know."""
    compressor = zlib.compressobj(1)
    with path.open("rb") as stream:
        size = sum(len(compressor.compress(chunk)) for chunk in iter(partial(stream.read, CHUNK), b""))
    return size + len(compressor.flush())


def _is_part(base: Candidate, one: Candidate) -> bool:
    """Whether `base` is `one` with at least one pass left out."""
    if len(base.steps) >= len(one.steps):
        return False
    rest = iter(_steps(one))
    return all(step in rest for step in _steps(base))


def _steps(candidate: Candidate) -> list[tuple[str, str]]:
    return [(step.name, step.config.model_dump_json()) for step in candidate.steps]


def _added(base: Candidate, one: Candidate) -> str:
    left = _steps(base)
    names = []
    for step, identity in zip(one.steps, _steps(one), strict=True):
        if left and identity == left[0]:
            left.pop(0)
        else:
            names.append(step.label)
    return " → ".join(names)
