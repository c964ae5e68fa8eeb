"""What the benchmarks do with a server's processes, on ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from processes import alive

from bench import subjects
from bench.servers import OURS
from bench.servers.process import Bare, Cores, family, running
from bench.serving import check

pytestmark = pytest.mark.contract


def test_a_server_is_started_on_one_core_weighed_and_ended_with_all_it_started(tmp_path: Path) -> None:
    model = subjects.mlp(tmp_path / "mlp")
    core = min(os.sched_getaffinity(0))
    bare = Bare(model, core)
    try:
        expected = bare.answers()
        assert bare.loop(0.1, batch=4)["rps"] > 0
        assert bare.run(0.1)["p50_us"] > 0
    finally:
        bare.close()
    with running(OURS, "default", model, core) as server:
        pids = family(server.process.pid)
        assert server.process.pid in pids
        assert all(os.sched_getaffinity(pid) == {core} for pid in pids)
        assert server.rss_mib() > 10
        server.pause()
        server.resume()
        check(server, expected)
    assert not any(map(alive, pids))


def test_two_cores_are_chosen_where_there_are_two() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    cores = Cores.of_this_machine()
    assert cores.server != cores.client
