"""The autoscaler takes the decisions of AWS's documented rules, and the comparison can tell where it does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bench.autoscaling import DELAY_SECONDS, TRACES, compare, ours
from bench.autoscaling_rules import Decision, Plant, Rules, decide

HOURS = 8
RULES = Rules(target=100, least=1, most=10, out_cooldown=0, in_cooldown=0)


def test_our_autoscaler_decides_as_the_rules_do_at_the_same_minutes() -> None:
    for compared in compare(HOURS * 60):
        assert list(compared.ours) == list(compared.rules), compared.name
        assert len(compared.rules) > 5, "a trace that asks for no decision shows nothing"


@pytest.mark.parametrize(
    "changed", [{"out_cooldown": 0.0}, {"in_cooldown": 0.0}, {"target": 330.0}, {"most": 4}, {"least": 3}]
)
def test_another_rule_would_be_noticed(changed: dict[str, float]) -> None:
    _, make, seed, rules = TRACES[2]
    trace = make(seed, HOURS * 60)
    taken = asyncio.run(ours(rules, Plant(trace, rules.least, DELAY_SECONDS)))
    assert decide(replace(rules, **changed), Plant(trace, rules.least, DELAY_SECONDS)) != taken  # type: ignore[arg-type]


def test_the_rules_scale_out_after_three_minutes_and_in_after_fifteen() -> None:
    trace = [50.0] * 5 + [250.0] * 10 + [50.0] * 30
    decisions = decide(RULES, Plant(trace, 1, 30))
    assert decisions[0] == Decision(minute=7, before=1, after=3)
    assert decisions[-1].after == 1
    # The last minute of 250 requests leaves the fifteen that count at the end of minute 29.
    assert next(decision for decision in decisions if decision.after < decision.before).minute == 29


def test_within_the_cooldown_only_what_is_missing_beyond_the_last_scale_out_is_added() -> None:
    patient = replace(RULES, out_cooldown=600)
    trace = [150.0] * 3 + [700.0] * 10
    decisions = decide(patient, Plant(trace, 1, 30))
    assert decisions[0] == Decision(minute=2, before=1, after=2)
    # Two run and seven are needed: five more, of which one was just added.
    assert decisions[1] == Decision(minute=3, before=2, after=6)
