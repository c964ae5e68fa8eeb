"""The documentation site: built strictly, whole, without the network; and the engine knows what pages ask of it."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import documentation
import pytest

if TYPE_CHECKING:
    from toolchain.engine import Engine

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
OUTSIDE = re.compile(r"^(?:[a-z]+:|//)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Its environment is that of `make docs`, from the locked requirements."""
    folder = tmp_path_factory.mktemp("docs")
    uv = Path(sys.executable).with_name("uv")
    python = folder / "venv/bin/python"
    requirements = ROOT / "requirements/docs.txt"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--require-hashes", "-r", requirements]
    subprocess.run(install, check=True)
    done = subprocess.run(
        [python, "-m", "mkdocs", "build", "--strict", "--site-dir", folder / "site"],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return folder / "site"


def test_every_page_is_in_the_site_and_can_be_searched(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]
    assert [str(page) for page in pages if not (site / page).is_file()] == []
    assert "# Slipway" not in (site / "index.html").read_text()
    index = json.loads((site / "search/search_index.json").read_text())
    places = {one["location"] for one in index["docs"]}
    assert {"index.html", "passes.html#quantize_static", "spec/deploy.html#deployautoscaling"} <= places


def test_no_page_asks_anything_of_the_network(site: Path) -> None:
    asked = []
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img|iframe|source|video)\b[^>]*>", page.read_text("utf-8")):
            address = re.search(r'(?:src|href)="([^"]*)"', tag)
            if address and OUTSIDE.match(address[1]) and not address[1].startswith("data:"):
                asked.append(f"{page.relative_to(site)}: {tag}")
    for sheet in site.rglob("*.css"):
        asked += re.findall(r"url\(\s*['\"]?(?:https?:)?//[^)]*\)|@import[^;]*", sheet.read_text("utf-8"))
    assert asked == []


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    text = {page: page.read_text("utf-8") for page in site.rglob("*.html") if page.name != "404.html"}
    ids = {page: set(re.findall(r'\bid="([^"]+)"', html)) for page, html in text.items()}
    assert len(text) > 40
    broken = []
    for page, html in text.items():
        for link in re.findall(r'<a\b[^>]*\bhref="([^"]*)"', html):
            if OUTSIDE.match(link):
                continue
            path, _, anchor = unquote(link).partition("#")
            goal = (page.parent / path).resolve() if path else page
            if not goal.is_file() or (anchor and goal in ids and anchor not in ids[goal] and anchor != "__skip"):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_what_lies_outside_of_the_documentation_is_named_and_not_linked(site: Path) -> None:
    serving = (site / "serving.html").read_text("utf-8")
    assert "serving/Dockerfile" in serving
    assert 'href="../serving/Dockerfile"' not in serving
    assert 'href="contributing.html#add-a-pass"' in (site / "passes.html").read_text("utf-8")


def test_the_engine_has_every_command_of_the_pages_with_its_options(engine: Engine) -> None:
    told = {str(command): command.words[1:] for command in documentation.commands() if command.program == "pulumi"}
    helped: dict[tuple[str, ...], str] = {}
    wrong = []
    for said, words in told.items():
        # Of `pulumi stack output endpoints -s dev`, `stack output` is the command; what follows is its own.
        names = tuple(itertools.takewhile(re.compile(r"[a-z][a-z-]*").fullmatch, words[:2]))
        if names not in helped:
            done = subprocess.run([engine.pulumi, *names, "--help"], text=True, capture_output=True)
            helped[names] = done.stdout
        if not _is_of(helped[names], names):
            wrong.append(f"{said}\n    no such command: {' '.join(names)}")
        options = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", helped[names]))
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        wrong += [f"{said}\n    no such option: {option}" for option in sorted(given - options)]
    assert len(told) > 20 and ("up",) in helped
    assert wrong == [], "\n".join(wrong)


def _is_of(text: str, names: tuple[str, ...]) -> bool:
    """Whether a help is that of the command; for an unknown one the engine gives its group's."""
    _, _, usage = text.partition("\nUsage:\n")
    known = tuple(itertools.takewhile(re.compile(r"[a-z][a-z-]*").fullmatch, usage.split("\n")[0].split()[1:]))
    aliases = re.search(r"^Aliases:\n\s*(.*)", usage, re.M)
    last = {known[-1], *(aliases[1].split(", ") if aliases else ())} if known else set()
    if "Available Commands" in usage and len(names) > len(known):
        return False
    return bool(known) and known[:-1] == names[: len(known) - 1] and names[len(known) - 1] in last
