"""What a platform lost and gained, for people: the record of a conversion as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def table(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of what, the source's and the converted model's."""
    compared, latency, score = record["compared"], record["latency"], record["score"]
    rows = [("", f"source ({record['source']['kind']})", record["platform"])]
    if compared["agreement"] is not None:
        rows.append(("top-1 agreement", "", f"{100 * compared['agreement']:.2f} % of {compared['samples']:,}"))
    if score:
        rows.append((record["metric"], f"{score['source']:.4f}", f"{score['converted']:.4f}"))
    if compared["largest_difference"] is None:
        rows.append(("outputs", "", "of other shapes, or no numbers"))
    else:
        shares = f"{compared['largest_difference']:.1e}, mean {compared['mean_difference']:.1e}"
        rows.append(("largest difference", "", f"{shares} of the largest value"))
    if latency:
        interval = latency["interval"]
        within = f", {interval[0]:.2f}–{interval[1]:.2f}" if interval else ""
        shown = f"{latency['converted_p50_ms']:.3f} ({latency['ratio']:.2f} ×{within})"
        rows.append(("p50 of one sample, ms", f"{latency['source_p50_ms']:.3f}", shown))
    else:
        rows.append(("p50 of one sample, ms", "", "not run here"))
    size = record["source"]["size_mb"]
    rows.append(("size, MB", "" if size is None else f"{size:.2f}", f"{record['size_mb']:.2f}"))
    return rows


def remarks(record: Mapping[str, Any]) -> list[str]:
    """What runs it, and what it gains and loses whatever the model."""
    lines = [f"run by {', '.join(record['run_by'])}"]
    lines += [f"+ {gain}" for gain in record["gains"]]
    lines += [f"- {loss}" for loss in record["loses"]]
    if not record["score"]:
        lines.append(f"! compared on {record['compared']['samples']} samples that were {record['compared']['data']}")
    return lines


def missed(record: Mapping[str, Any]) -> str:
    """The limit that it misses."""
    compared, limits = record["compared"], record["limits"]
    if compared["agreement"] is not None:
        return (
            f"{100 * compared['agreement']:.2f} % of the samples keep their class; "
            f"at least {100 * limits['agreement']:g} % must"
        )
    if compared["largest_difference"] is None:
        return "its outputs are of other shapes, or no numbers"
    return (
        f"an output is off by {compared['largest_difference']:.2g} of its largest value; "
        f"tolerated are {limits['difference']:g}"
    )
