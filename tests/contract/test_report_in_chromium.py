"""The report pages in a real browser: they render, in light and dark, and ask for nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_samples import report

from model_build import report_html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH; CI has one (apt-get install chromium)"),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr"),
)


def chromium(tmp_path: Path, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    return subprocess.run(
        [CHROMIUM, *FLAGS, profile, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A folder of two builds, each with its page, and the page of all."""
    folder = tmp_path / "build"
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        built = report(name=name)
        (folder / name / "report.json").write_text(json.dumps(built))
        (folder / name / "report.html").write_text(report_html.page(built))
    report_html.write_index(folder)
    return folder


def test_a_build_page_renders_whole_and_without_complaint(pages: Path, tmp_path: Path) -> None:
    done = chromium(tmp_path, pages / "one" / "report.html", "--dump-dom")
    dom = done.stdout
    assert "<title>one – build report</title>" in dom
    # In the document that the browser made of it, nothing was cut short or moved by a tag left open.
    body = re.sub(r"<svg.*?</svg>", "", dom, flags=re.S)
    assert len(re.findall(r"<h2>", body)) == 7
    assert len(re.findall(r"<table>", body)) == 3
    assert dom.count('class="point') == 4
    assert "<main>" in dom.partition("Built 2026-11-24")[0]
    assert "CONSOLE" not in done.stderr  # no violation of its content security policy, nothing that fails to load


def test_the_page_of_all_builds_renders_with_a_plot_each(pages: Path, tmp_path: Path) -> None:
    done = chromium(tmp_path, pages / "report.html", "--dump-dom")
    assert done.stdout.count("<section") == 2
    assert done.stdout.count('aria-label="Score against latency of every candidate"') == 2
    assert "CONSOLE" not in done.stderr


def test_dark_and_light_are_different_pictures_of_the_same_size(pages: Path, tmp_path: Path) -> None:
    from PIL import Image

    brightness = {}
    for name, options in (("light", ()), ("dark", ("--blink-settings=preferredColorScheme=0",))):
        picture = tmp_path / f"{name}.png"
        options = (*options, f"--screenshot={picture}", "--window-size=1200,1600")
        chromium(tmp_path, pages / "one" / "report.html", *options)
        with Image.open(picture) as image:
            assert image.size == (1200, 1600)
            brightness[name] = sum(image.convert("L").resize((1, 1)).tobytes())
    assert brightness["light"] > 200
    assert brightness["dark"] < 80
