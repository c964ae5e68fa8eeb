"""The HTML pages: what they say, and that they need nothing from outside."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_samples import model, report

from model_build import charts, report_html

VOID = {"meta", "circle", "line", "rect", "path", "br"}


class Balanced(HTMLParser):
    """Fails where a tag is not closed, and collects what the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for name, value in attributes if name in ("src", "data", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        return None

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("changes", [{}, {"search": None}])
def test_a_page_is_well_formed_and_loads_nothing(changes: dict[str, Any]) -> None:
    page = report_html.page(report(**changes))
    assert Balanced(page).loaded == []
    assert "<script" not in page
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_what_a_person_wrote_is_text_and_never_markup() -> None:
    page = report_html.page(report(labels=["<b>shoe", "shirt & tie"]))
    assert "Tells &lt;shoes&gt; from shirts." in page
    assert "&lt;b&gt;shoe" in page
    assert "shirt &amp; tie" in page


def test_every_candidate_is_in_the_table_and_in_the_plot_with_its_figures() -> None:
    page = report_html.page(report())
    for label in ("export_onnx", "quantized", "slower"):
        assert f"<title>{label}: accuracy 0.9000, p50" in page
    assert page.count('class="point') == 4
    assert page.count("<tr class=is-chosen>") == 1
    assert "misses size.max_mb" in page


def test_before_and_after_classes_and_time_are_told() -> None:
    page = report_html.page(report())
    assert re.search(r"p50 latency</div><div class=\"after\">1\.000.*?was 4\.000 · × 0\.25", page)
    assert re.search(r"<td>shirt</td><td class=\"n\">40</td>", page)
    assert "export: 2.0 s (cached)" in page


def test_what_was_dropped_is_listed_with_its_reason() -> None:
    page = report_html.page(report())
    assert "<b>slower</b>: it does not pay." in page
    assert "<b>export_onnx</b>: size ≤ 2 MB: 4 MB, missed by 2 MB." in page


def test_what_a_search_tried_is_told() -> None:
    tried = [
        {"label": "x → y", "status": "pruned", "why": "loses 0.1", "score": 0.8, "ratio": 0.5, "size_mb": 1.0},
        {"label": "z", "status": "skipped", "why": "it failed", "score": None, "ratio": None, "size_mb": None},
    ]
    search = {"budget": "10m", "seconds": 12.0, "stopped": "nothing was left to try", "tried": tried}
    page = report_html.page(report(search=search))
    assert "2 candidates tried in 12 s of 10m; nothing was left to try" in page
    assert "loses 0.1" in page
    assert "it failed" in page
    assert Balanced(page).loaded == []


def test_without_data_size_stands_in_place_of_accuracy() -> None:
    plain = report(source=model(4.0, None), candidates=[{**report()["candidates"][1], **model(1.0, None)}])
    page = report_html.page(plain)
    assert "size, MB, downwards" in page
    assert "Classes" not in page


def test_one_page_shows_all_builds_and_links_to_theirs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report(name=name)))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text('{"format": 0}')
    report_html.write_index(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count('href="one/report.html"') == 2
    assert "2 models" in page
    assert "broken" not in page
    Balanced(page)
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_the_front_has_what_nothing_is_both_quicker_and_better_than() -> None:
    points = [(1.0, 0.8), (2.0, 0.9), (2.0, 0.85), (3.0, 0.9), (4.0, 0.95)]
    assert charts.front(points) == [(1.0, 0.8), (2.0, 0.9), (4.0, 0.95)]


def test_numbers_that_would_meet_are_moved_apart() -> None:
    spots = [charts.Spot(str(number), 1.0, 0.9, 1.0, "passes", "tip") for number in range(3)]
    drawing = charts.scatter(spots, charts.Limits(), ("x", "y"))
    heights = re.findall(r'<g class="spot"><text x="[\d.]+" y="([\d.]+)"', drawing)
    assert len(set(heights)) == 3
