"""Our server against its peers: `python -m bench.serving [--quick] [--peers mlserver,torchserve] [--models mlp]`.

The same artifact everywhere, the server on one core, the client (wrk) on another, ONNX Runtime on one thread, 1 and 32
connections. All servers of a model are up together and warm; each round measures every one of them in turn while the
others are stopped, and the loop without a server too. What stands for a peer is the best of its settings.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import load
from bench.outcome import table, tell
from bench.servers import OURS, PEERS, SERVERS
from bench.servers.launch import Model, Unavailable
from bench.servers.process import Bare, Cores, Running, running
from bench.serving_results import CLIENTS, Measured, Result, bars
from bench.subjects import MODELS
from model_build import machine

SWEEP = (1, 2, 4, 8, 16, 32)
"""Batch sizes of the loop without a server: the most that batching could give."""


@dataclass(frozen=True)
class Plan:
    """How long is measured: `rounds` of `seconds` per server and number of clients; `starts` of ours are timed."""

    rounds: int
    seconds: float
    starts: int
    warm_up: float
    """Of what a server's module asks for."""


FULL = Plan(rounds=5, seconds=3, starts=5, warm_up=1)
QUICK = Plan(rounds=1, seconds=2, starts=2, warm_up=0.3)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: shows that everything runs")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {', '.join(PEERS)}; none for ours alone")
    parser.add_argument("--models", default=",".join(MODELS), help=f"of {', '.join(MODELS)}")
    parser.add_argument("--rounds", type=int, help=f"of every server, in turn (default {FULL.rounds})")
    options = parser.parse_args(arguments)
    peers = [] if options.peers == "none" else options.peers.split(",")
    models = options.models.split(",")
    for given, known in ((peers, PEERS), (models, MODELS)):
        for name in given:
            if name not in known:
                parser.error(f"{name} is none of {', '.join(known)}")
    plan = QUICK if options.quick else FULL
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    try:
        cores = Cores.of_this_machine()
        load.wrk()
        with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
            results = [compare(MODELS[name](Path(folder) / name), [OURS, *peers], plan, cores) for name in models]
    except Unavailable as error:
        print(f"nothing can be measured: {error}", file=sys.stderr)
        return 1
    shown = "\n".join(map(show, results))
    return tell("serving", {"plan": asdict(plan), "models": [asdict(one) for one in results]}, shown, bars(results))


def compare(model: Model, names: Sequence[str], plan: Plan, cores: Cores) -> Result:
    """Starts the servers, checks their answers, and measures them. A server that cannot be had is told, and why."""
    with ExitStack() as stack:
        bare = Bare(model, cores.server)
        stack.callback(bare.close)
        expected = bare.answers()
        first: list[float] = []
        for _ in range(plan.starts):
            with machine.measuring(), running(OURS, "default", model, cores.server) as one:
                first.append(one.first_seconds)
        result, up = Result(model.name, [], {}), []
        for name in names:
            for variant in SERVERS[name].VARIANTS:
                say(f"{model.name}: {name}, {variant}")
                try:
                    server = stack.enter_context(running(name, variant, model, cores.server))
                    check(server, expected)
                except (Unavailable, RuntimeError) as error:
                    if name == OURS:
                        raise Unavailable(str(error)) from None
                    say(f"{name}, {variant} is left out: {error}")
                    result.unavailable[f"{name}, {variant}"] = str(error)
                    continue
                seconds = first if variant == "default" else [server.first_seconds]
                result.servers.append(Measured(name, variant, server.label, seconds))
                warm_up = SERVERS[name].WARM_UP * plan.warm_up
                load.closed(server.launch, server.port, cores.client, max(CLIENTS), warm_up)
                server.pause()
                up.append(server)
        for number in range(plan.rounds):
            say(f"{model.name}: round {number + 1} of {plan.rounds}")
            with machine.measuring():
                _round(result, up, bare, plan, cores, first=number)
        for measured, server in zip(result.servers, up, strict=True):
            measured.rss_mib = server.rss_mib()
        result.sweep = {size: bare.loop(plan.seconds / 2, size)["rps"] for size in SWEEP}
    return result


def _round(result: Result, up: Sequence[Running], bare: Bare, plan: Plan, cores: Cores, first: int) -> None:
    """Every server in turn, each round beginning with another."""
    result.loop.append(bare.loop(plan.seconds))
    result.run.append(bare.run(plan.seconds / 2))
    pairs = list(zip(result.servers, up, strict=True))
    first %= len(pairs)
    for measured, server in pairs[first:] + pairs[:first]:
        with awake(server):
            load.closed(server.launch, server.port, cores.client, max(CLIENTS), 1)
            for clients in CLIENTS:
                one = load.closed(server.launch, server.port, cores.client, clients, plan.seconds)
                measured.loads[clients].append(one)


@contextmanager
def awake(server: Running) -> Iterator[None]:
    server.resume()
    try:
        yield
    finally:
        server.pause()


def check(server: Running, expected: Sequence[Any]) -> None:
    """Raises RuntimeError unless every answer holds the loop's: the same words, and numbers to four digits."""
    for body, wanted in zip(server.launch.bodies, expected, strict=True):
        answer = server.ask(body)
        found = list(leaves(json.loads(answer)))
        for leaf in leaves(wanted):
            if not any(same(leaf, one) for one in found):
                raise RuntimeError(f"{server.label} answers {answer[:200]!r}, which lacks {leaf!r}")


def leaves(value: Any) -> Iterator[Any]:
    """The words and numbers of decoded JSON; keys are none."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from leaves(one)
    elif value is not None:
        yield value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, (float, int)):
        return abs(one - other) <= 1e-4 * max(1, abs(one))
    return bool(one == other)


def show(result: Result) -> str:
    """The table of one model, and below it what was not measured."""
    heading = [
        "server",
        "req/s, 1 client",
        "req/s, 32 clients",
        "p50 / p99 ms, 1",
        "p50 / p99 ms, 32",
        "first s",
        "MiB",
    ]
    rows = [[f"loop without a server ({result.model})", spread([one["rps"] for one in result.loop]), *["–"] * 5]]
    for one in result.servers:
        rows.append(
            [
                one.label,
                *(spread([each.rps for each in one.loads[clients]]) for clients in CLIENTS),
                *(f"{one.middle(clients, 'p50'):.2f} / {one.middle(clients, 'p99'):.2f}" for clients in CLIENTS),
                spread(one.first_seconds, "{:.2f}".format),
                f"{one.rss_mib:.0f}",
            ]
        )
    lines = [table(heading, rows)]
    run = [median(one[key] for one in result.run) for key in ("p50_us", "p99_us")]
    lines.append(f"session.run alone: p50 {run[0]:.1f} µs, p99 {run[1]:.1f} µs")
    lines.append("loop by batch size: " + ", ".join(f"{size}: {rps:,.0f}/s" for size, rps in result.sweep.items()))
    if (tail := result.tail()) is not None:
        ratio, peer = tail
        lines.append(f"p99 at 32 clients: {ratio:.2f} × that of {peer.label}")
        lines.append(f"no server's mean latency at 32 clients can be below {result.least_mean():.2f} ms")
    failed = {one.label: sum(each.failed for loads in one.loads.values() for each in loads) for one in result.servers}
    lines += [f"{label}: {count} requests failed" for label, count in failed.items() if count]
    lines += [f"not measured: {label}: {reason}" for label, reason in result.unavailable.items()]
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float], form: Callable[[float], str] = "{:,.0f}".format) -> str:
    """The median, with the least and the most where there are several."""
    middle = form(median(values))
    return middle if len(values) == 1 else f"{middle} ({form(min(values))}–{form(max(values))})"


def say(what: str) -> None:
    print(f"· {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
