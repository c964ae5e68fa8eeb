"""`slipway loadtest`: where the knee is, when the climb ends, what the evidence says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from model_build.errors import UserError
from slipway import loadtest
from slipway.loadtest import Level, Target

LOADED = Target("fashion-dev", "a" * 64, "ml.c7i.large", 2)


def level(clients: int, rps: float, p95: float = 10.0, errors: float = 0.0) -> Level:
    return Level(clients, rps, p95 / 2, p95, errors, "500: broken" if errors else "", 0.1)


def climbed(monkeypatch: pytest.MonkeyPatch, *given: Level, **limits: Any) -> list[Level]:
    """The levels that a climb measures, of those that are prepared."""
    prepared = {one.clients: one for one in given}

    async def measured(sign: Any, clients: int, seconds: float) -> Level:
        return prepared[clients]

    monkeypatch.setattr(loadtest, "_level", measured)
    settings = {"seconds": 1.0, "max_clients": 1024, "max_p95_ms": None} | limits
    return loadtest.climb(lambda: pytest.fail("nothing is sent here"), **settings)


def test_the_climb_ends_where_twice_the_clients_bring_hardly_more_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = climbed(monkeypatch, level(1, 100), level(2, 190), level(4, 205), level(8, 300))
    assert [one.clients for one in levels] == [1, 2, 4]


def test_the_climb_ends_at_the_most_clients_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = climbed(monkeypatch, level(1, 100), level(2, 200), level(4, 400), level(6, 600), max_clients=6)
    assert [one.clients for one in levels] == [1, 2, 4, 6]


def test_the_climb_ends_where_requests_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = climbed(monkeypatch, level(1, 100), level(2, 200, errors=0.01), level(4, 400))
    assert [one.clients for one in levels] == [1, 2]
    assert loadtest.knee(levels).clients == 1


def test_an_endpoint_that_fails_for_one_client_is_told_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="500: broken"):
        climbed(monkeypatch, level(1, 0.0, errors=1.0))


def test_the_knee_is_the_fewest_clients_near_the_highest_throughput() -> None:
    levels = [level(1, 100), level(2, 196), level(4, 203, p95=40.0), level(8, 205, p95=80.0)]
    assert loadtest.knee(levels).clients == 2


def test_levels_beyond_the_latency_that_is_asked_for_do_not_count() -> None:
    levels = [level(1, 100, p95=8.0), level(2, 150, p95=9.0), level(4, 300, p95=30.0)]
    assert loadtest.knee(levels, max_p95_ms=10.0).clients == 2
    with pytest.raises(UserError, match=r"even one client waits 8 ms"):
        loadtest.knee(levels, max_p95_ms=5.0)


def test_the_evidence_is_of_one_instance_where_several_shared_the_load() -> None:
    found = loadtest.capacity(LOADED, level(8, 500.06, p95=20.0), "fashion", "dev")
    assert (found.max_rps, found.concurrency, found.latency_p95_ms) == (250.0, 4.0, 20.0)
    assert (found.artifact, found.instance, found.environment) == (LOADED.artifact, LOADED.instance, "dev")
    assert found.measured == datetime.now(UTC).date()
    assert found.target("invocations", 0.5) == 7500.0
