"""The documentation names commands, options, targets and figures that exist."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import documentation
import pytest
from documentation import ROOT, Command

from slipway.cli import COMMANDS


def _page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_every_command_of_every_page_exists_with_its_options() -> None:
    found = list(documentation.commands())
    wrong = [f"{command}\n    {said}" for command in found if (said := documentation.problem(command))]
    assert not wrong, "\n".join(wrong)
    # That nothing is wrong because nothing was found would be no proof.
    counts = Counter(command.program for command in found)
    assert counts["slipway"] > 100 and counts["make"] > 15 and counts["pulumi"] > 20 and counts["aws"] > 3, counts


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("slipway biuld", "no such command: biuld"),
        ("slipway build --fast", "No such option '--fast'"),
        ("slipway build -j none", "'none' is not a valid integer"),
        ("slipway export-state fashion --to npz", "'npz' is not one of"),
        ("slipway deploy", "environment is missing"),
        ("slipway check && slipway local begin", "no such command: begin"),
        ('eval "$(.venv/bin/slipway env --shell)"', "No such option '--shell'"),
        ("make upp", "no such target: upp"),
        ("python -m bench.nothing", "no such module"),
        ("python -m bench.olive --nothing", "no such option: --nothing"),
        ("aws sagemaker describe-endpoints", "no such operation"),
        ("aws sagemaker describe-endpoint --name x", "no such option: name"),
        ("slipwy check", "what is slipwy?"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str, said: str) -> None:
    found = documentation._of_line(ROOT / "README.md", line)
    assert any(said in (documentation.problem(command) or "") for command in found)


@pytest.mark.parametrize(
    "line",
    [
        "slipway build fashion -j 4 # both",
        "slipway local start --speed 60",
        "slipway rehearse news-topics --bad",
        "slipway --root DIR check",
        "TORCH=cpu make setup",
        "make PYTHON=python3.12 up",
    ],
)
def test_a_command_that_exists_is_not(line: str) -> None:
    assert [documentation.problem(command) for command in documentation._of_line(ROOT / "README.md", line)] == [None]


def test_the_front_page_lists_every_command() -> None:
    table = _page("README.md").partition("<!-- commands")[2].partition("<!-- end of commands -->")[0]
    listed = re.findall(r"`slipway ([\w-]+)`", table)
    assert sorted(listed) == sorted(COMMANDS)


def test_the_comparison_has_no_figure_that_the_benchmarks_lack() -> None:
    measured = _page("docs/benchmarks.md")
    section = _page("docs/comparison.md").partition("## What was measured")[2]
    figures = re.findall(r"\d+\.\d+ s\b|\d+ ms\b|\b0\.\d+\b", section)
    assert len(figures) >= 8
    assert [figure for figure in figures if figure not in measured] == []


def test_a_page_that_a_command_or_the_code_names_exists() -> None:
    rooms = ("slipway", "model_build", "infra", "localcloud", "serving", "stores", "toolchain", "bench")
    code = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    named = {(path, name) for path in code for name in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text("utf-8"))}
    assert [f"{path.relative_to(ROOT)}: {name}" for path, name in sorted(named) if not (ROOT / name).is_file()] == []


def test_commands_are_found_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`make up` and\n\n    slipway check   # all\n\n```sh\nA=1 slipway build \\\n  x > y\npulumi up\n```\n"
    )
    monkeypatch.setattr(documentation, "PAGES", [page])
    assert list(documentation.commands()) == [
        Command(page, ("slipway", "build", "x")),
        Command(page, ("pulumi", "up")),
        Command(page, ("slipway", "check")),
        Command(page, ("make", "up"), whole=False),
    ]
