"""The arithmetic around wrk and vegeta: what they are given and what is read from them."""

from __future__ import annotations

import json
import math

import pytest

from bench import load
from bench.overload_results import attacked, recovered


def test_the_output_of_the_wrk_script_is_read_from_its_last_line_and_failures_are_no_throughput() -> None:
    values = {"requests": 1000, "microseconds": 2_000_000, "p50": 150.0, "p99": 2500.0, "status": 100, "broken": 3}
    told = load.parsed(f"Running 2s test\n  900 requests\n{json.dumps(values)}\n")
    assert (told.rps, told.p50, told.p99, told.requests, told.failed) == (450, 0.15, 2.5, 1000, 103)


def test_the_wrk_script_holds_every_body_as_it_is() -> None:
    bodies = ['{"inputs": "a \\"quoted\\" [[text]]"}', '{"inputs": "b"}']
    script = load.script_of(bodies)
    assert all(f"[==[{body}]==]" in script for body in bodies)


def test_vegetas_records_become_answers_in_the_order_they_were_sent() -> None:
    rows = "1000000500000000,503,2000000,0,10,,,1,,,\n1000000000000000,200,900000000,0,10,,,0,,,\n"
    assert load.answers(rows) == [load.Answer(0.0, 200, 0.9), load.Answer(0.5, 503, 0.002)]


def test_a_percentile_is_one_of_the_values_and_none_of_nothing() -> None:
    assert load.percentile([3, 1, 2, 4], 0.5) == 3
    assert load.percentile([3, 1, 2, 4], 0.99) == 4
    assert math.isnan(load.percentile([], 0.5))


def test_only_answers_within_a_second_and_within_the_attack_count_for_its_share() -> None:
    answers = [
        load.Answer(0.0, 200, 0.1),
        load.Answer(0.1, 200, 1.5),  # too late to be of use
        load.Answer(0.2, 503, 0.001),
        load.Answer(0.3, 429, 0.003),
        load.Answer(0.4, 0, 30.0),
        load.Answer(0.5, 500, 0.01),
        load.Answer(1.9, 200, 0.5),  # answered after the attack
        load.Answer(1.95, 200, 0.01),
    ]
    attack = attacked(answers, times=4, peak=1, seconds=2, recovery=0.5)
    assert attack.share == pytest.approx(2 / 2)
    assert attack.sent == 1
    assert attack.rejected == pytest.approx(2 / 8)
    assert (attack.rejection_p50, attack.rejection_p99) == (3, 3)
    assert attack.lost == pytest.approx(2 / 8)


def test_a_server_has_recovered_when_five_answers_in_a_row_are_good() -> None:
    good = [(number / 10, True, 0.01) for number in range(10)]
    assert recovered(good, limit=0.05) == 0
    slow_at_first = [(0.0, True, 0.2), (0.3, True, 0.01), (0.4, False, 0.01), *[(t + 0.5, *rest) for t, *rest in good]]
    assert recovered(slow_at_first, limit=0.05) == 0.5
    assert recovered(good[:4], limit=0.05) == float("inf")
