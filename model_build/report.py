"""What a build found, for programs (`report.json`) and for people (`report.md`, and the table of missed gates)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model_build import rounds
from model_build.instances import is_arm
from model_build.manifest import GateResult, Measurement

LABEL_WIDTH = 48
"""Characters of a candidate's label that still leave room for the other columns of a table in a terminal."""
UNITS = {
    "accuracy": "",
    "latency_p50": " ms",
    "latency_p95": " ms",
    "memory_peak": " MiB",
    "size": " MB",
    "throughput": " samples/s",
}


def markdown(report: Mapping[str, Any]) -> str:
    """The page of a report; its keys are those that `build` writes into `report.json`."""
    source = Measurement.model_validate(report["source"]["measurement"])
    chosen = next(one for one in report["candidates"] if one["chosen"])
    after = Measurement.model_validate(chosen["measurement"])
    lines = [f"# {report['name']}", ""]
    if report["description"]:
        lines += [report["description"], ""]
    lines += [
        f"Chosen: **{chosen['label']}**, the {report['choose']} of the candidates that pass every gate.",
        "",
        *_table(("", "source", "chosen", "change"), before_after(source, after)),
        "",
        "## Candidates",
        "",
        *_table(
            ("candidate", metric_name(source), "p50 ms (rounds)", "p95 ms (rounds)", "memory MiB", "size MB", "gates"),
            [_row("source", report["source"], "")]
            + [_row(one["label"], one, verdict(one)) for one in report["candidates"]],
        ),
        "",
    ]
    rows = [
        (one["label"], *gate_cells(GateResult.model_validate(result)))
        for one in report["candidates"]
        for result in one["gates"]
    ]
    if rows:
        lines += ["## Gates", "", *_table(("candidate", "gate", "limit", "measured", "result"), rows), ""]
    lines += [f"> **{one['label']}**: {text}\n" for one in report["candidates"] for text in one["warnings"]]
    lines += [f"> dropped **{one['label']}**: {one['dropped']}\n" for one in report["candidates"] if one.get("dropped")]
    lines += _classes(report, chosen) + _search(report.get("search")) + _rounds(report.get("federated"))
    return "\n".join(lines + _how(report))


def before_after(source: Measurement, after: Measurement) -> list[tuple[str, str, str, str]]:
    """Metric with its unit, source, chosen, change."""
    rows = [
        (metric_name(source), _score(source.score), _score(after.score), _difference(source.score, after.score)),
        *(
            (name, f"{value:.4g}", f"{now:.4g}", f"{now - value:+.4g}")
            for name, value in source.details.items()
            if (now := after.details.get(name)) is not None
        ),
        ("p50 latency, ms", *_ratio(source.latency_p50_ms, after.latency_p50_ms, 3)),
        ("p95 latency, ms", *_ratio(source.latency_p95_ms, after.latency_p95_ms, 3)),
        ("peak memory, MiB", *_ratio(source.memory_peak_mb, after.memory_peak_mb, 0)),
        ("size, MB", *_ratio(source.size_mb, after.size_mb, 2)),
    ]
    if source.throughput_rps is not None and after.throughput_rps is not None:
        rows.append(("throughput, samples/s", *_ratio(source.throughput_rps, after.throughput_rps, 0)))
    return rows


def metric_name(measured: Measurement) -> str:
    """The metric as it is written for people."""
    return measured.metric.replace("_", " ")


def _ratio(before: float, after: float, digits: int) -> tuple[str, str, str]:
    return f"{before:.{digits}f}", f"{after:.{digits}f}", f"× {after / before:.2f}" if before else ""


def _score(score: float | None) -> str:
    return "not measured" if score is None else f"{score:.4f}"


def _difference(before: float | None, after: float | None) -> str:
    return "" if before is None or after is None else f"{after - before:+.4f}"


def _row(label: str, one: Mapping[str, Any], verdict: str) -> tuple[str, ...]:
    measured = Measurement.model_validate(one["measurement"])
    spread = one["spread"]
    return (
        f"**{label}**" if one.get("chosen") else label,
        _score(measured.score),
        "{:.3f} ({:.3f}–{:.3f})".format(measured.latency_p50_ms, *spread["p50_ms"]),
        "{:.3f} ({:.3f}–{:.3f})".format(measured.latency_p95_ms, *spread["p95_ms"]),
        f"{measured.memory_peak_mb:.0f}",
        f"{measured.size_mb:.2f}",
        verdict,
    )


def verdict(one: Mapping[str, Any]) -> str:
    """What became of a candidate, in a few words."""
    missed = [result["gate"] for result in one["gates"] if not result["passed"] and not result.get("unresolved")]
    unresolved = [result["gate"] for result in one["gates"] if result.get("unresolved")]
    said = [f"misses {', '.join(missed)}"] if missed else []
    said += [f"not resolved: {', '.join(unresolved)}"] if unresolved else []
    if one.get("dropped"):
        said = ["dropped", *said]
    return "; ".join(said) if said else "passes" if one["gates"] else "none given"


def gate_cells(result: GateResult) -> tuple[str, str, str, str]:
    """Gate, limit, measured value, and the result with by how much it was missed."""
    gate, _, limit = result.gate.partition(".")
    is_ratio = limit.endswith("ratio")
    unit = "" if is_ratio or limit == "max_drop" else UNITS[gate]
    times = "× " if is_ratio else ""
    relation = "≥" if limit.startswith("min") else "≤"
    name = f"{gate} of the source's" if is_ratio else f"{gate} drop" if limit == "max_drop" else gate
    wanted = f"{relation} {times}{_number(result.limit)}{unit}"
    if result.measured is None:
        return name, wanted, "not measured", "missed: no evidence"
    shown = f"{times}{_number(result.measured)}{unit}"
    if result.passed:
        return name, wanted, shown, "passed"
    if result.unresolved:
        if result.interval is None:
            return name, wanted, shown, "not resolved: too few rounds to tell"
        low, high = map(_number, result.interval)
        return name, wanted, shown, f"not resolved: {times}{low} to {times}{high}{unit}, as far as can be told"
    by = f"{times}{_number(abs(result.measured - result.limit))}{unit}"
    return name, wanted, shown, f"missed by {by}"


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def missed_table(results: Mapping[str, Iterable[GateResult]]) -> str:
    """The missed gates of every candidate as aligned lines of plain text; a long label has a line of its own.

    What is not resolved is left out where something else is missed, as nothing more was measured then.
    """
    missed = {label: [one for one in gates if not one.passed] for label, gates in results.items()}
    broken = {label: [one for one in gates if not one.unresolved] for label, gates in missed.items()}
    rows: list[tuple[str, ...]] = []
    for label, gates in missed.items():
        within = len(label) <= LABEL_WIDTH
        if not within:
            rows.append((label,))
        rows += [(label if within else "", *gate_cells(one)) for one in broken[label] or gates]
    heading = ("candidate", "gate", "limit", "measured", "")
    cells = [heading, *(row for row in rows if len(row) > 1)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heading))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in (heading, *rows)
    )


def class_rows(
    report: Mapping[str, Any], chosen: Mapping[str, Any]
) -> list[tuple[str, int, float | None, float | None]]:
    """Of each class: its name, samples, and the share of them that source and chosen model name rightly."""
    before, after = report["source"].get("classes"), chosen.get("classes")
    if not before or not after:
        return []
    names = report.get("labels") or []
    return [
        (
            names[number] if number < len(names) else str(number),
            one[0],
            one[2] / one[0] if one[0] else None,
            other[2] / other[0] if other[0] else None,
        )
        for number, (one, other) in enumerate(zip(before, after, strict=False))
    ]


def _classes(report: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[str]:
    rows = class_rows(report, chosen)
    if not rows:
        return []
    cells = [
        (name, f"{samples:,}", _score(before), _score(after), _difference(before, after))
        for name, samples, before, after in rows
    ]
    heading = ("class", "samples", "source", "chosen", "change")
    return ["## Classes", "", "The share of a class's samples that is recognised.", "", *_table(heading, cells), ""]


def search_summary(search: Mapping[str, Any]) -> str:
    return (
        f"{len(search['tried'])} candidates tried in {search['seconds']:.0f} s of {search['budget']}; "
        f"{search['stopped']}. They were ranked beside the first one, on the half of the calibration samples that no "
        "pass saw; the finalists were then gated on the evaluation data."
    )


def _search(search: Mapping[str, Any] | None) -> list[str]:
    if search is None:
        return []
    rows = [
        (
            one["label"],
            "" if one["score"] is None else f"{one['score']:.4f}",
            "" if one["ratio"] is None else f"× {one['ratio']:.3f}",
            "" if one["size_mb"] is None else f"{one['size_mb']:.2f}",
            one["status"] + (f": {one['why']}" if one["why"] else ""),
        )
        for one in search["tried"]
    ]
    return [
        "## Search",
        "",
        search_summary(search),
        "",
        *_table(("candidate", "score", "p50", "size MB", "outcome"), rows),
        "",
    ]


def _rounds(account: rounds.Account | None) -> list[str]:
    if account is None:
        return []
    return ["## Rounds", "", rounds.sentence(account), "", *_table(rounds.HEADING, rounds.rows(account)), ""]


def _machine(environment: Mapping[str, Any]) -> str:
    return f"{environment['cpu']} ({environment['on']})" if "on" in environment else str(environment["cpu"])


def how_lines(report: Mapping[str, Any]) -> list[str]:
    """How it was measured, a Markdown list."""
    settings, environment = report["measure"], report["environment"]
    target = report["instruction_set"]
    samples = report["source"]["measurement"]["samples"]
    threads = f"{settings['threads']} thread" + ("s" if settings["threads"] > 1 else "")
    return [
        f"- One sample at a time on {threads}, each model in "
        f"a fresh process, {settings['rounds']} rounds of {settings['requests']} requests in turns. A figure is the "
        "median of the rounds; their lowest and highest stand in brackets.",
        "- A limit on time is held or broken where the whole interval of the rounds' median, for a ratio that of the "
        "rounds' own ratios to the source, is on one side of it; where it was not, more rounds were measured.",
        f"- Accuracy on {samples:,} evaluation samples."
        if samples
        else "- The spec has no evaluation data: no score was measured, and latency on made-up samples.",
        "- Memory: the peak of the process after loading and a few requests. Size: the model's files, uncompressed.",
        f"- {_machine(environment)}; Python {environment['python']}, "
        + ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
        + ".",
        f"- 8-bit weights: served on {', '.join(target['instances'])} ({target['target']}), measured on "
        f"{target['machine']}. Where a pass leaves `reduce_range` open, weights have "
        + ("all 8 bits." if target["vnni"] else "7 bits, as one of these lacks VNNI and would saturate."),
        *_elsewhere(target["instances"], environment["cpu"]),
    ]


def _elsewhere(instances: Sequence[str], cpu: str) -> list[str]:
    """That times were taken on another kind of CPU than serves."""
    arm = [one for one in instances if is_arm(one)]
    if not arm or "aarch64" in cpu or "arm64" in cpu:
        return []
    return [
        f"- {', '.join(arm)}: Arm. Times, memory and scores here are of another kind of CPU, and say little of the "
        "times there: `slipway loadtest` and `slipway diagnose` measure the endpoint."
    ]


def _how(report: Mapping[str, Any]) -> list[str]:
    return [
        "## How it was measured",
        "",
        *how_lines(report),
        "",
        "## Time",
        "",
        *_table(
            ("step", "seconds", ""),
            [
                (step["step"], f"{step['seconds']:.1f}", "from the cache" if step["cached"] else "")
                for step in report["steps"]
            ],
        ),
        "",
    ]


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(cells) + " |"
        for cells in (heading, ["---"] * len(heading), *([cell.replace("|", "\\|") for cell in row] for row in rows))
    ]
