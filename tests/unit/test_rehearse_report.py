"""What a rehearsal came to: spans, gates and the oracle, from figures that are made up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.traffic.open_loop import Answered
from slipway.rehearse import Moment, Plan, Rehearsal
from slipway.rehearse_fault import Fault
from slipway.rehearse_profile import read
from slipway.rehearse_report import as_json, failures, judge, print_tables, replica_ratio, spans

PHASES = "phases: [{kind: steady, duration: 10m, rate: 10}]\n"


def rehearsal(gates: str = "{}", fault: Fault | None = None, outcome: str = "completed", **more: Any) -> Rehearsal:
    profile = read(f"{PHASES}gates: {gates}\n", "profile")
    made = Rehearsal(Plan("news-local", profile, 60.0, b"{}", "application/json", fault), 20, 10, profile.curve(10), {})
    made.began, made.settled, made.outcome = 120.0, 300.0, outcome
    # Ten seconds of the wall, ten a second; what arrives in the rollout's first second fails.
    made.answers = [
        Answered(number / 10, 0.010 + number / 10_000, 424 if 20 <= number < 30 else 200, "broken")
        for number in range(100)
    ]
    made.moments = [Moment(at, 2 if at < 300 else 3, 1, 10) for at in range(0, 601, 60)]
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_requests_are_counted_before_during_and_after_the_rollout() -> None:
    found = {span.name: (span.requests, span.errors) for span in spans(rehearsal())}
    assert found == {"before": (20, 0), "rollout": (30, 10), "after": (50, 0), "all": (100, 10)}
    assert spans(rehearsal())[0].p50_ms == 11.0


def test_replica_seconds_are_held_against_the_fewest_replicas() -> None:
    made = rehearsal()
    assert (made.replica_seconds, made.oracle_seconds) == (5 * 60 * 2 + 5 * 60 * 3, 600)
    assert replica_ratio(made) == 2.5


@pytest.mark.parametrize(
    ("gates", "passed"),
    [
        ("{max_errors: 9}", {"max_errors": False, "must_complete": True}),
        ("{max_error_percent: 10, must_complete: false}", {"max_error_percent": True}),
        ("{p50_ms: 16, p95_ms: 19}", {"p50_ms": True, "p95_ms": False, "must_complete": True}),
        ("{max_replica_ratio: 2.4}", {"max_replica_ratio": False, "must_complete": True}),
        # Gates of a bad version are none of a good one's.
        ("{max_bad_error_percent: 1}", {"must_complete": True}),
    ],
)
def test_gates_of_a_good_version_are_judged(gates: str, passed: dict[str, bool]) -> None:
    assert {judged.gate: judged.passed for judged in judge(rehearsal(gates))} == passed


@pytest.mark.parametrize(
    ("outcome", "gates", "passed"),
    [
        ("rolled back", "{}", {"must_roll_back": True}),
        ("completed", "{}", {"must_roll_back": False}),
        ("UpdateRollbackFailed", "{}", {"must_roll_back": False}),
        (
            "rolled back",
            "{max_bad_error_percent: 5, max_errors: 0}",
            {"must_roll_back": True, "max_bad_error_percent": False},
        ),
        ("completed", "{must_roll_back: false}", {}),
    ],
)
def test_a_bad_version_must_be_rolled_back(outcome: str, gates: str, passed: dict[str, bool]) -> None:
    judged = judge(rehearsal(gates, "errors", outcome))
    assert {one.gate: one.passed for one in judged} == passed


def test_a_rollout_that_did_not_settle_has_not_completed() -> None:
    (judged,) = judge(rehearsal(outcome="not settled", settled=None))
    assert (judged.gate, judged.passed) == ("must_complete", False)


def test_failures_are_told_in_the_models_words_most_frequent_first() -> None:
    model = json.dumps({"OriginalMessage": "out of luck", "Message": "Received server error"})
    answers = [Answered(0, 0.1, 424, model)] * 3 + [Answered(0, 30, 0, "no answer within 30 s")]
    assert failures(rehearsal(answers=answers)) == [(3, 424, "out of luck"), (1, 0, "no answer within 30 s")]


def test_the_result_is_told_as_json_and_as_tables(capsys: pytest.CaptureFixture[str]) -> None:
    made = rehearsal(
        "{max_errors: 0}",
        scaling=[(400.0, 2, 3, "monitor alarm [High]")],
        rollout=[(121.0, "the canary bakes"), (300.0, "InService"), (400.0, "Updating")],
    )
    told = json.loads(json.dumps(as_json(made)))
    assert told["rollout"]["outcome"] == "completed" and told["traffic"]["rollout"]["errors"] == 10
    assert told["replicas"]["ratio"] == 2.5
    assert told["gates"][0] == {"gate": "max_errors", "limit": 0, "measured": 10, "passed": False}
    print_tables(made)
    shown = capsys.readouterr().out
    for part in ("10 × 424: broken", "ratio 2.50", "2 min 01 s", "scaling 2 → 3: monitor alarm [High]", "✗ missed"):
        assert part in shown
    assert "Updating" not in shown, "what scaling does is no part of the rollout"
