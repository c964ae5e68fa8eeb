"""What a server does with more than it can: `python -m bench.overload [--quick] [--requests N] [--peers bentoml]`.

Ours at ten times its capacity, among 1,000 slow connections, and over two million requests; as context, with `--peers`,
those at three times theirs. The server is on one core, its clients on another. Load is open-loop (vegeta) wherever
waiting for an answer would hide what happens.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench import load
from bench.outcome import Bar, table, tell
from bench.overload_results import Attack, attacked, recovered
from bench.servers import OURS, PEERS, SERVERS
from bench.servers.launch import Unavailable
from bench.servers.process import Cores, Running, running
from bench.slow import SlowClients
from bench.subjects import mlp, news
from model_build import machine

TIMES, PEER_TIMES = 10.0, 3.0
"""Capacity is what 32 connections in a closed loop get."""
SLOW = 1000
REQUESTS = 2_000_000
PROBES = 400
"""Requests at most that look for the end of an overload, one after the other."""


@dataclass(frozen=True)
class Plan:
    rounds: int
    seconds: float
    """Of an attack, and of every measurement beside it."""
    requests: int


FULL = Plan(rounds=3, seconds=10, requests=REQUESTS)
QUICK = Plan(rounds=1, seconds=4, requests=100_000)
WARM_UP = 0.05
"""Of the requests of the memory test."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short: shows that everything runs")
    parser.add_argument("--requests", type=int, help=f"of the memory test; {REQUESTS:,} without --quick")
    parser.add_argument("--peers", default="", help=f"also these, at 3 times their capacity: {', '.join(PEERS)}")
    options = parser.parse_args(arguments)
    peers = [name for name in options.peers.split(",") if name]
    if unknown := [name for name in peers if name not in PEERS]:
        parser.error(f"{unknown[0]} is none of {', '.join(PEERS)}")
    plan = QUICK if options.quick else FULL
    plan = Plan(plan.rounds, plan.seconds, options.requests or plan.requests)
    try:
        cores = Cores.of_this_machine()
        load.wrk()
        load.vegeta()
        with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
            return measure(Path(folder), plan, peers, cores)
    except Unavailable as error:
        print(f"nothing can be measured: {error}", file=sys.stderr)
        return 1


def measure(folder: Path, plan: Plan, peers: Sequence[str], cores: Cores) -> int:
    model, small = news(folder / "news-topics"), mlp(folder / "mlp")
    unavailable: dict[str, str] = {}
    with machine.measuring(), running(OURS, "default", model, cores.server) as server:
        load.closed(server.launch, server.port, cores.client, 32, SERVERS[OURS].WARM_UP)
        attacks = {OURS: [overload(server, TIMES, plan, cores) for _ in range(plan.rounds)]}
        slow = [among_slow(server, plan, cores) for _ in range(plan.rounds)]
    with machine.measuring(), running(OURS, "default", small, cores.server) as server:
        memory = growth(server, plan, cores)
    for name in peers:
        for variant in SERVERS[name].VARIANTS:
            say(f"{name}, {variant}, at {PEER_TIMES:g} times its capacity")
            try:
                with machine.measuring(), running(name, variant, model, cores.server) as server:
                    load.closed(server.launch, server.port, cores.client, 32, SERVERS[name].WARM_UP)
                    attacks[server.label] = [overload(server, PEER_TIMES, plan, cores) for _ in range(plan.rounds)]
            except Unavailable as error:
                unavailable[f"{name}, {variant}"] = str(error)
    figures = {
        "plan": asdict(plan),
        "attacks": {label: [asdict(one) for one in several] for label, several in attacks.items()},
        "slow": slow,
        "memory": memory,
        "unavailable": unavailable,
    }
    lines = [show(attacks)]
    lines += [f"not measured: {label}: {reason}" for label, reason in unavailable.items()]
    opened, dropped, calm, among = (
        median(one[key] for one in slow) for key in ("opened", "dropped", "calm_p99", "among_p99")
    )
    lines.append(
        f"p99 at half of capacity: {calm:.2f} ms alone, {among:.2f} ms among {opened:,.0f} slow connections, "
        f"of which the server dropped {dropped:,.0f}"
    )
    lines.append(
        f"memory over {memory['requests']:,.0f} requests: {memory['warm_mib']:.1f} MiB after "
        f"{memory['warm_requests']:,.0f}, {memory['end_mib']:.1f} at the end; {memory['failed']:.0f} failed\n"
    )
    return tell("overload", figures, "\n".join(lines), bars(attacks[OURS], slow, memory))


def bars(attacks: Sequence[Attack], slow: Sequence[dict[str, float]], memory: dict[str, float]) -> list[Bar]:
    return [
        Bar("share of the attack's requests that the client sent in time", median(a.sent for a in attacks), 0.97, True),
        Bar("slow connections opened at once", median(one["opened"] for one in slow), SLOW, True),
        Bar(
            "healthy p99 among slow connections: times without", median(o["among_p99"] / o["calm_p99"] for o in slow), 2
        ),
        Bar("growth of memory after warm-up", memory["end_mib"] / memory["warm_mib"] - 1, 0.02),
        Bar("failed requests of the memory test", memory["failed"], 0),
        Bar(f"at {TIMES:g} times capacity: recovery, s", median(a.recovery for a in attacks), 2),
        Bar(f"at {TIMES:g} times capacity: p50 of a rejection, ms", median(a.rejection_p50 for a in attacks), 5),
        Bar(
            f"at {TIMES:g} times capacity: share of peak answered within 1 s",
            median(a.share for a in attacks),
            0.95,
            True,
        ),
    ]


def show(attacks: dict[str, list[Attack]]) -> str:
    heading = ["server, load", "peak req/s", "answered within 1 s", "rejection p50 / p99 ms", "no answer", "recovery s"]
    rows = []
    for label, several in attacks.items():

        def middle(what: str, several: list[Attack] = several) -> float:
            return float(median(getattr(one, what) for one in several))

        rows.append(
            [
                f"{label}, {several[0].times:g} ×",
                f"{middle('peak'):,.0f}",
                f"{middle('share'):.1%}",
                f"{middle('rejection_p50'):.2f} / {middle('rejection_p99'):.2f}",
                f"{middle('lost'):.1%}",
                f"{middle('recovery'):.2f}",
            ]
        )
    return table(heading, rows)


def overload(server: Running, times: float, plan: Plan, cores: Cores) -> Attack:
    """Its capacity, then an attack at a multiple of it, then how long until it answers as before."""
    peak = load.closed(server.launch, server.port, cores.client, 32, plan.seconds)
    healthy = load.closed(server.launch, server.port, cores.client, 1, plan.seconds)
    say(f"{server.label}: {times * peak.rps:,.0f} requests/s for {plan.seconds:g} s")
    with load.attacking(server.launch, server.port, cores.client, times * peak.rps, plan.seconds) as flight:
        flight.until_sent()
        recovery = recovered(probes(server), limit=max(2 * healthy.p99 / 1000, 0.05))
    return attacked(flight.answers, times, peak.rps, plan.seconds, recovery)


def probes(server: Running) -> Iterator[tuple[float, bool, float]]:
    """One request after the other: when it was sent (s since the first), whether 200 came, its latency."""
    begun = time.monotonic()
    for _ in range(PROBES):
        sent = time.monotonic()
        try:
            server.ask(server.launch.bodies[0])
            good = True
        except (OSError, RuntimeError, http.client.HTTPException):
            good = False
        yield sent - begun, good, time.monotonic() - sent
        time.sleep(0.01)


def among_slow(server: Running, plan: Plan, cores: Cores) -> dict[str, float]:
    """p99 (ms) at half of capacity, alone and while slow clients hold connections."""
    rate = load.closed(server.launch, server.port, cores.client, 32, plan.seconds).rps / 2

    def healthy() -> float:
        with load.attacking(server.launch, server.port, cores.client, rate, plan.seconds) as flight:
            pass
        took = [one.latency if one.status == 200 else load.TIMEOUT_SECONDS for one in flight.answers]
        return load.percentile(took, 0.99)

    calm = healthy()
    say(f"{SLOW} slow connections")
    with SlowClients(server.port, server.launch.path, SLOW, cores.client) as slow:
        among = healthy()
        return {"calm_p99": calm * 1000, "among_p99": among * 1000, "opened": slow.opened, "dropped": slow.dropped}


def growth(server: Running, plan: Plan, cores: Cores) -> dict[str, float]:
    """Resident memory, MiB, after the warm-up and after all requests of the plan, 32 connections."""
    done, failed, warm, told = 0, 0, None, 0.0
    while done < plan.requests:
        one = load.closed(server.launch, server.port, cores.client, 32, 1 if warm is None else 5)
        done, failed = done + one.requests, failed + one.failed
        if one.requests == 0:
            raise Unavailable(f"{server.label} answers no more")
        if warm is None and done >= WARM_UP * plan.requests:
            warm = {"warm_mib": server.rss_mib(), "warm_requests": float(done)}
        if time.monotonic() > told + 20:
            told = time.monotonic()
            say(f"{done:,} of {plan.requests:,} requests, {server.rss_mib():.1f} MiB")
    return {"end_mib": server.rss_mib(), "requests": done, "failed": failed, **(warm or {})}


def say(what: str) -> None:
    print(f"· {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
