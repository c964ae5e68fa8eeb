"""Traffic profiles: the built-in one, and everything that is wrong with a file at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_build.errors import SpecError, UserError
from slipway.rehearse_profile import EXAMPLE, default, load, read


def test_the_built_in_profile_is_valid_and_its_rates_are_shares_of_a_replica() -> None:
    profile = default()
    assert profile.relative
    curve = profile.curve(10.0)
    assert (curve.duration, curve.peak, curve.rate(0)) == (35 * 60, 25, 6)
    assert profile.gates.must_roll_back and profile.gates.max_error_percent == 0


def test_every_commented_line_of_the_example_is_valid_too() -> None:
    lines = []
    for line in EXAMPLE.splitlines():
        bare = line.lstrip()
        shown = bare.removeprefix("# ") if bare.startswith(("# - {", "# capacity", "# p5", "# p9", "# max_")) else None
        if shown is None:
            lines.append(line)
        else:
            indent = "  " if shown.startswith(("-", "p", "max_")) else ""
            lines.append(indent + shown.partition("    between")[0])
    profile = read("\n".join(lines), "example")
    assert profile.phases[-1].kind == "daily" and profile.capacity == 80
    assert profile.gates.p99_ms == 100 and profile.gates.max_bad_error_percent == 10


def test_every_problem_is_told_at_once_with_line_and_key() -> None:
    text = """\
speed: 0
phases:
  - {kind: steady, duration: 5x, rate: 60}
  - {kind: spike, duration: 10m, rate: 60%, to: lots, at: 3m, width: 0s}
  - {kind: wave, duration: 10m, rate: -1}
  - {kind: step, duration: 10m, rate: 1, to: 2}
gates: {p95: 3}
"""
    with pytest.raises(SpecError) as caught:
        read(text, "day.yaml")
    said = str(caught.value).splitlines()
    for line, part in (
        (1, "speed: must be at least 1"),
        (3, "phases[0].duration: '5x' is not a time such as 90s"),
        (4, "phases[1].to: 'lots' is neither a number"),
        (4, "phases[1].width: must be longer than nothing"),
        (5, "phases[2].kind: 'wave' is not one of: steady, step, spike, daily"),
        (5, "phases[2].rate: must be at least 0"),
        (6, "phases[3]: a phase of kind step needs at and to"),
        (7, "gates.p95: unknown key 'p95'; did you mean 'p95_ms'?"),
    ):
        assert any(one.startswith(f"day.yaml:{line}: {part}") for one in said), (line, part, said)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("phases: []\n", "phases"),
        ("phases: [{kind: steady, duration: 5m, rate: 1}]\nrollout_at: 5m\n", "rollout_at .5m. is past the end"),
        ("phases: [{kind: step, duration: 5m, rate: 1, to: 2, at: 6m}]\n", "at .6m. is past the end of the phase"),
        ("phases: [\n", "day.yaml:"),
    ],
)
def test_a_profile_that_cannot_be_played_is_told(text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        read(text, "day.yaml")


def test_a_file_that_is_not_there_is_told_with_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--example") as caught:
        load(tmp_path / "none.yaml")
    assert "No such file" in str(caught.value)
