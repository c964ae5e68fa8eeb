"""`report.html`: a build's report as one page that stands alone, and one page for all builds of a project.

The page's frame is `report_page.html` beside this; the drawings are `charts`. Both are made of `report.json` alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from model_build import charts, report, rounds
from model_build.manifest import GateResult, Measurement

FRAME = Path(__file__).with_name("report_page.html")
Report = Mapping[str, Any]


def page(built: Report) -> str:
    """The page of one build."""
    chosen = _chosen(built)
    parts = [
        f"<h1>{escape(built['name'])}</h1>",
        f"<p>{escape(built['description'])}</p>" if built["description"] else "",
        f'<p>Chosen: <span class="chosen">{escape(chosen["label"])}</span>, the {built["choose"]} of the candidates '
        "that pass every gate and whose passes pay.</p>",
        _figures(built, chosen),
        "<h2>Accuracy against latency <small>area: size of the model; dashed: gates; line: what nothing beats"
        "</small></h2>",
        f'<div class="panel">{plot(built)}</div>',
        "<h2>Candidates</h2>",
        _candidates(built),
        _dropped(built),
        _searched(built.get("search")),
        _classes(built, chosen),
        _rounds(built.get("federated")),
        "<h2>Gates</h2>",
        _gates(built, chosen),
        "<h2>Where the time went</h2>",
        f'<div class="panel">{_times(built["steps"])}</div>',
        "<h2>How it was measured</h2>",
        f"<ul>{''.join(f'<li>{_plain(line)}</li>' for line in report.how_lines(built))}</ul>",
        f'<p class="soft">Built {escape(built["built_at"])}; artifact and figures are in manifest.json.</p>',
    ]
    return _framed(f"{built['name']} – build report", parts)


def index(reports: Sequence[Report]) -> str:
    """The page of all builds, each with its figures, its plot and a link to its own page."""
    parts = [
        "<h1>Builds</h1>",
        f"<p>{len(reports)} model{'s' if len(reports) != 1 else ''}, source → what is deployed.</p>",
        _overview(reports),
        '<div class="models">',
        *(
            f'<section class="panel"><h2><a href="{escape(one["name"])}/report.html">{escape(one["name"])}</a></h2>'
            f'<p class="soft">{escape(one["description"])}</p>{plot(one, width=560, height=300)}</section>'
            for one in reports
        ),
        "</div>",
    ]
    return _framed("Build reports", parts)


def write_index(folder: Path) -> None:
    """Writes `report.html` over all builds in a folder. A reader sees the old page or the new one."""
    reports = [report for path in sorted(folder.glob("*/report.json")) if (report := _readable(path))]
    scratch = folder / f".report-{os.getpid()}.html"
    scratch.write_text(index(reports), encoding="utf-8")
    scratch.replace(folder / "report.html")


def _readable(path: Path) -> Report | None:
    """A report, unless another version wrote it or it is being replaced just now."""
    try:
        found: Report = json.loads(path.read_bytes())
        page(found)
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
    return found


def _framed(title: str, parts: Iterable[str]) -> str:
    frame = Template(FRAME.read_text("utf-8"))
    return frame.substitute(title=escape(title), body="\n".join(part for part in parts if part))


def _chosen(built: Report) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in built["candidates"] if one["chosen"])
    return found


def _measured(one: Mapping[str, Any]) -> Measurement:
    return Measurement.model_validate(one["measurement"])


def _figures(built: Report, chosen: Mapping[str, Any]) -> str:
    """Before → after of each metric."""
    cards = []
    for name, before, after, change in report.before_after(_measured(built["source"]), _measured(chosen)):
        label, _, unit = name.partition(", ")
        cards.append(
            f'<div class="figure"><div class="name">{escape(label)}</div><div class="after">{escape(after)} '
            f"<small>{escape(unit)}</small></div>"
            f'<div class="before">was {escape(before)} · {escape(change)}</div></div>'
        )
    return f'<div class="figures">{"".join(cards)}</div>'


def plot(built: Report, *, width: int = 1000, height: int = 420) -> str:
    """Score against latency, size as area; where there is no score, size stands upwards in its place."""
    models = [("S", built["source"], "source"), *_numbered(built)]
    scored = all(one["measurement"]["score"] is not None for _, one, _ in models)
    spots = []
    for mark, one, kind in models:
        measured = _measured(one)
        score = f"{report.metric_name(measured)} {measured.score:.4f}, " if measured.score is not None else ""
        tip = (
            f"{one.get('label', 'source model')}: {score}p50 {measured.latency_p50_ms:.3f} ms, "
            f"p95 {measured.latency_p95_ms:.3f} ms, {measured.size_mb:.2f} MB, {measured.memory_peak_mb:.0f} MiB"
        )
        height_on_plot = measured.score if scored and measured.score is not None else -measured.size_mb
        spots.append(charts.Spot(mark, measured.latency_p50_ms, height_on_plot, measured.size_mb, kind, tip))
    named = report.metric_name(_measured(built["source"]))
    titles = ("p50 latency, ms, logarithmic", named if scored else "size, MB, downwards")
    return charts.scatter(spots, _limits(built), titles, width=width, height=height)


def _numbered(built: Report) -> list[tuple[str, Mapping[str, Any], str]]:
    """The candidates with the number and the kind that the plot gives them."""
    return [
        (str(number), one, "best" if one["chosen"] else "passes" if _takes_part(one) else "misses")
        for number, one in enumerate(built["candidates"], 1)
    ]


def _takes_part(one: Mapping[str, Any]) -> bool:
    return not one.get("dropped") and all(gate["passed"] for gate in one["gates"])


def _limits(built: Report) -> charts.Limits:
    """The tightest latency and the highest floor among the gates, which are the same for every candidate."""
    source = built["source"]["measurement"]
    times, floors = [], []
    for gate in built["candidates"][0]["gates"]:
        match gate["gate"]:
            case "latency_p50.max_ms":
                times.append(gate["limit"])
            case "latency_p50.max_ratio":
                times.append(gate["limit"] * source["latency_p50_ms"])
            case "accuracy.min":
                floors.append(gate["limit"])
            case "accuracy.max_drop" if source["score"] is not None:
                floors.append(source["score"] - gate["limit"])
    return charts.Limits(min(times, default=None), max(floors, default=None))


def _candidates(built: Report) -> str:
    rows = [("S", built["source"], "source"), *_numbered(built)]
    values = [value for _, one, _ in rows for pair in one["spread"].values() for value in pair]
    scale = (min(values), max(values))
    named = escape(report.metric_name(_measured(built["source"])))
    heading = f"<tr><th></th><th>candidate</th><th class=n>{named}</th><th class=n>p50 ms</th><th>rounds</th>"
    heading += "<th class=n>p95 ms</th><th class=n>MiB</th><th class=n>MB</th><th>gates</th></tr>"
    return f'<div class="panel"><table>{heading}{"".join(_candidate(*row, scale) for row in rows)}</table></div>'


def _candidate(mark: str, one: Mapping[str, Any], kind: str, scale: tuple[float, float]) -> str:
    measured = _measured(one)
    low, high = one["spread"]["p50_ms"]
    strip = charts.strip(
        low, measured.latency_p50_ms, high, scale, f"p50 of {len(one['rounds_ms'])} rounds: {low:.3f} to {high:.3f} ms"
    )
    verdict = "" if kind == "source" else report.verdict(one)
    tone = {"best": "good", "passes": "good", "misses": "bad"}.get(kind, "")
    name = "source model" if kind == "source" else one["label"]
    cells = [
        f'<td><span class="mark">{mark}</span></td>',
        f'<td class="label{" chosen" if kind == "best" else ""}">{escape(name)}</td>',
        f'<td class="n">{"–" if measured.score is None else f"{measured.score:.4f}"}</td>',
        f'<td class="n">{measured.latency_p50_ms:.3f}</td><td class="plot">{strip}</td>',
        f'<td class="n">{measured.latency_p95_ms:.3f}</td><td class="n">{measured.memory_peak_mb:.0f}</td>',
        f'<td class="n">{measured.size_mb:.2f}</td><td class="{tone}">{escape(verdict)}</td>',
    ]
    return f"<tr{' class=is-chosen' if kind == 'best' else ''}>{''.join(cells)}</tr>"


def _dropped(built: Report) -> str:
    """What was not taken, and why: passes that do not pay, gates that were missed, warnings."""
    lines = []
    for one in built["candidates"]:
        name = f"<b>{escape(one['label'])}</b>"
        if one.get("dropped"):
            lines.append(f"{name}: {escape(one['dropped'])}.")
        for gate in one["gates"]:
            if not gate["passed"]:
                what, limit, measured, result = report.gate_cells(GateResult.model_validate(gate))
                lines.append(f"{name}: {escape(f'{what} {limit}: {measured}, {result}')}.")
        lines += [f"{name}: {escape(text)}" for text in one["warnings"]]
    if not lines:
        return ""
    return f"<h2>What was dropped, and why</h2><ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"


def _searched(search: Mapping[str, Any] | None) -> str:
    if search is None:
        return ""
    rows = "".join(
        f'<tr><td class="label">{escape(one["label"])}</td><td class="n">{_number(one["score"], ".4f")}</td>'
        f'<td class="n">{_number(one["ratio"], ".3f", "× ")}</td><td class="n">{_number(one["size_mb"], ".2f")}</td>'
        f"<td>{escape(one['status'])}</td><td>{escape(one['why'])}</td></tr>"
        for one in search["tried"]
    )
    heading = "<tr><th>candidate</th><th class=n>score</th><th class=n>p50</th><th class=n>MB</th>"
    heading += "<th>outcome</th><th></th></tr>"
    return (
        f"<h2>What the search tried</h2><p>{escape(report.search_summary(search))}</p>"
        f'<div class="panel"><table>{heading}{rows}</table></div>'
    )


def _rounds(account: rounds.Account | None) -> str:
    if account is None:
        return ""
    heading = "".join(f"<th>{escape(cell)}</th>" for cell in rounds.HEADING)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rounds.rows(account))
    return (
        f"<h2>Rounds</h2><p>{escape(rounds.sentence(account))}</p>"
        f'<div class="panel"><table><tr>{heading}</tr>{body}</table></div>'
    )


def _number(value: float | None, form: str, before: str = "") -> str:
    return "" if value is None else f"{before}{value:{form}}"


def _classes(built: Report, chosen: Mapping[str, Any]) -> str:
    rows = report.class_rows(built, chosen)
    if not rows:
        return ""
    low = min(share for _, _, *shares in rows for share in shares if share is not None) - 0.03
    cells = []
    for name, samples, before, after in rows:
        if before is None or after is None:
            cells.append(f'<tr><td>{escape(name)}</td><td class="n">{samples:,}</td><td colspan=4>no samples</td></tr>')
            continue
        tone = "good" if after > before else "bad" if after < before else "soft"
        drawing = charts.dumbbell(before, after, max(low, 0), f"{name}: {before:.4f} → {after:.4f}")
        cells.append(
            f'<tr><td>{escape(name)}</td><td class="n">{samples:,}</td><td class="n">{before:.4f}</td>'
            f'<td class="n">{after:.4f}</td><td class="n {tone}">{after - before:+.4f}</td>'
            f'<td class="plot">{drawing}</td></tr>'
        )
    heading = "<tr><th>class</th><th class=n>samples</th><th class=n>source</th><th class=n>chosen</th>"
    heading += "<th class=n>change</th><th>hollow: source</th></tr>"
    title = "<h2>Classes <small>share of a class's samples that is recognised</small></h2>"
    return f'{title}<div class="panel"><table>{heading}{"".join(cells)}</table></div>'


def _gates(built: Report, chosen: Mapping[str, Any]) -> str:
    if not chosen["gates"]:
        return "<p>The spec gives none.</p>"
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in report.gate_cells(GateResult.model_validate(gate)))
        + "</tr>"
        for gate in chosen["gates"]
    )
    heading = "<tr><th>gate</th><th>limit</th><th>measured</th><th>result</th></tr>"
    return f'<div class="panel"><table>{heading}{rows}</table></div>'


def _times(steps: Sequence[Mapping[str, Any]]) -> str:
    return charts.bars([(step["step"], step["seconds"], step["cached"]) for step in steps], "s")


def _overview(reports: Sequence[Report]) -> str:
    names = [name for name, *_ in report.before_after(*(_measured(reports[0]["source"]),) * 2)] if reports else []
    heading = (
        "<tr><th>model</th>" + "".join(f"<th class=n>{escape(name)}</th>" for name in names) + "<th>chosen</th></tr>"
    )
    rows = []
    for one in reports:
        chosen = _chosen(one)
        cells = "".join(
            f'<td class="n">{escape(before)} → <b>{escape(after)}</b></td>'
            for _, before, after, _ in report.before_after(_measured(one["source"]), _measured(chosen))[: len(names)]
        )
        link = f'<a href="{escape(one["name"])}/report.html">{escape(one["name"])}</a>'
        rows.append(f'<tr><td>{link}</td>{cells}<td class="label">{escape(chosen["label"])}</td></tr>')
    return f'<div class="panel"><table>{heading}{"".join(rows)}</table></div>'


def _plain(line: str) -> str:
    """A line of the Markdown report without its marks."""
    return escape(line.removeprefix("- ").replace("`", ""))
