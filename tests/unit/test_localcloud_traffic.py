"""The parts of hosting that decide about requests: variants, replicas, deployment strategies, metrics."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from localcloud.clock import Clock
from localcloud.cloudwatch.statistics import Distribution
from localcloud.cloudwatch.store import Metric
from localcloud.cloudwatch.watch import Watch
from localcloud.sagemaker.artifacts import ArtifactStore
from localcloud.sagemaker.fleet import DeploymentError, Fleet, Variant, Workshop
from localcloud.sagemaker.listing import list_page
from localcloud.sagemaker.metrics import Invocation, Metrics
from localcloud.sagemaker.replica import Program, Replica, StartupError
from localcloud.sagemaker.traffic import Route

CONTAINER = {"Image": "image:1", "ModelDataUrl": "s3://models/m"}


def workshop(tmp_path: Path) -> Workshop:
    session: Any = None
    return Workshop(ArtifactStore(tmp_path), Program(("false",), 1), session, asyncio.Semaphore(1))


def fleet(tmp_path: Path, name: str = "A", weight: float = 1.0) -> Fleet:
    return Fleet(Variant(name, "m", CONTAINER, 1, weight), workshop(tmp_path), tmp_path)


class StandIn:
    """What `Fleet.pick` reads of a replica."""

    def __init__(self, outstanding: int = 0, state: str = "Healthy") -> None:
        self.outstanding = outstanding
        self.state = state


def test_the_replica_with_the_fewest_requests_is_picked_and_equals_take_turns(tmp_path: Path) -> None:
    busy, first, second = StandIn(3), StandIn(), StandIn()
    replicas = fleet(tmp_path)
    replicas.replicas = [busy, first, second, StandIn(state="Starting"), StandIn(state="Draining")]  # type: ignore
    picked: Any = [replicas.pick() for _ in range(4)]
    assert Counter(map(id, picked)) == {id(first): 2, id(second): 2}
    first.outstanding = 4
    second.outstanding = 4
    picked = replicas.pick()
    assert picked is busy
    replicas.replicas = [busy]  # type: ignore[list-item]
    excluded: Any = busy
    assert replicas.pick(excluded=excluded) is None


def test_variants_share_traffic_by_weight_evenly_over_time(tmp_path: Path) -> None:
    assert Route().choose() is None
    fleets = {"A": fleet(tmp_path, "A", 3.0), "B": fleet(tmp_path, "B", 1.0), "C": fleet(tmp_path, "C", 0.0)}
    route = Route.to(fleets)
    chosen: Any = [route.choose() for _ in range(8)]
    assert [one.variant.name for one in chosen] == ["A", "A", "B", "A"] * 2
    assert route.choose("C") is fleets["C"]
    assert route.choose("D") is None


def test_two_deployments_share_traffic_by_the_part_that_was_shifted(tmp_path: Path) -> None:
    blue, green = {"A": fleet(tmp_path, "A", 1.0)}, {"A": fleet(tmp_path, "A", 10.0)}
    route = Route.between(blue, green, {"A": 0.25})
    chosen = Counter(route.choose() is green["A"] for _ in range(400))
    assert chosen == {True: 100, False: 300}
    assert Counter(route.choose("A") is green["A"] for _ in range(400)) == {True: 100, False: 300}
    assert route.part(green["A"]) == pytest.approx(0.25)
    assert {Route.between(blue, green, {"A": 0.0}).choose() for _ in range(9)} == {blue["A"]}
    assert {Route.between(blue, green, {"A": 1.0}).choose() for _ in range(9)} == {green["A"]}


def test_a_failure_reason_fits_what_awss_api_can_carry() -> None:
    assert str(DeploymentError("short")) == "short"
    assert len(str(DeploymentError("x" * 5000))) == 1024


def test_invocations_are_metrics_of_their_variant_and_of_its_configuration() -> None:
    watch = Watch(Clock())
    metrics = Metrics(watch)
    for status, seconds in ((200, 0.010), (200, 0.030), (415, 0.001), (0, 60.0)):
        metrics.record(Invocation("us-east-1", "e", "A", "c", status, 2, seconds, 0.002))

    def read(name: str, **more: str) -> Any:
        metric = Metric.of("AWS/SageMaker", name, {"EndpointName": "e", "VariantName": "A", **more})
        now = watch.clock.now()
        whole = Distribution()
        for _, point in watch.store("us-east-1").read(metric, now // 60 * 60 - 60, now + 1, 60):
            whole.merge(point)
        return whole

    assert (read("Invocations").count, read("Invocations").total) == (4, 4)
    assert read("InvocationsPerInstance").total == 2
    assert read("ModelLatency").least == pytest.approx(1000)
    assert read("ModelLatency").statistic("p75") == pytest.approx(30_000)
    assert read("OverheadLatency").most == pytest.approx(2000)
    assert read("Invocation4XXErrors").total == read("Invocation5XXErrors").total == 1
    assert read("InvocationModelErrors", EndpointConfigName="c").total == 2
    assert read("InvocationModelErrors", EndpointConfigName="other").count == 0


def test_a_list_is_filtered_sorted_and_cut_into_pages() -> None:
    summaries = [{"ModelName": f"m{number}", "CreationTime": float(number)} for number in range(12)]
    newest = list_page({}, summaries, "Model")
    assert [one["ModelName"] for one in newest["Models"]] == [f"m{number}" for number in range(11, 1, -1)]
    assert newest["NextToken"] == "10"
    between = {"CreationTimeAfter": 2, "CreationTimeBefore": 5, "SortBy": "Name", "SortOrder": "Ascending"}
    assert [one["ModelName"] for one in list_page(between, summaries, "Model")["Models"]] == ["m3", "m4"]


def test_a_replica_sees_little_of_this_machine_and_its_containers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "secret")
    environment = Program(("serving",), 3).environment({"OMP_NUM_THREADS": "1", "MODE": "x"})
    assert "secret" not in environment.values()
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"], environment["MODE"]) == ("1", "3", "x")


READY = """echo '{"event": "ready", "port": 9}'; exec sleep 60"""


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo loading >&2; echo no weights >&2; exit 1", r"^no weights$"),
        ("exit 7", r"^it ended with exit code 7 and wrote nothing"),
        ("echo loading >&2; kill -9 $$", r"^it was killed by SIGKILL, as .*; its last line: loading$"),
        ("kill -11 $$", r"^it was killed by SIGSEGV$"),
        (READY, r"did not answer /ping with 200 within 0\.8 seconds$"),
        ("echo still loading >&2; exec sleep 60", r": still loading$"),
    ],
)
def test_a_replica_that_does_not_become_healthy_is_stopped_and_says_why(
    tmp_path: Path, script: str, reason: str
) -> None:
    async def start() -> Replica:
        async with aiohttp.ClientSession() as session:
            replica = Replica(Program(("sh", "-c", script), 1), tmp_path, {}, tmp_path / "logs", "A")
            with pytest.raises(StartupError, match=reason):
                await replica.start(session, timeout=0.8)
            assert replica.state == "Stopped"
            assert await replica.wait_exit() != 0
            return replica

    replica = asyncio.run(start())
    assert replica.log.name == f"A-{replica.id}.log"


def test_a_program_that_does_not_exist_is_a_startup_error(tmp_path: Path) -> None:
    async def start() -> None:
        async with aiohttp.ClientSession() as session:
            replica = Replica(Program(("/no/such/program",), 1), tmp_path, {}, tmp_path / "logs", "A")
            with pytest.raises(StartupError, match="could not be started"):
                await replica.start(session, timeout=5)

    asyncio.run(start())


def test_lines_on_standard_output_go_to_the_log_and_the_ready_line_does_not(tmp_path: Path) -> None:
    code = "print('hello'); print('{\"event\": \"other\"}'); raise SystemExit(1)"

    async def start() -> str:
        async with aiohttp.ClientSession() as session:
            replica = Replica(Program((sys.executable, "-c", code), 1), tmp_path, {}, tmp_path / "logs", "A")
            with pytest.raises(StartupError):
                await replica.start(session, timeout=10)
            return replica.log.read_text()

    log = asyncio.run(start())
    assert log == "hello\n"
