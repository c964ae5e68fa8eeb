"""What bench/serving.py measured of one model, and the bars that it must hold. Pure arithmetic, tested by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.load import Closed
from bench.outcome import Bar
from bench.servers import OURS

CLIENTS = (1, 32)
FEW, MANY = CLIENTS
TOOLKITS = (("torchserve", "SageMaker toolkit"), ("multi-model-server", "SageMaker toolkit"))
"""What AWS's images run."""
VECTORISED = ("torchserve", "vectorised batching")
FAILED = 0.01
"""Of a server's requests; where more failed, it is nobody's best."""


@dataclass
class Measured:
    """One server with one of its settings. The lists of `loads` have one element per round."""

    name: str
    variant: str
    label: str
    first_seconds: list[float]
    """From spawn to the first prediction, of each start."""
    loads: dict[int, list[Closed]] = field(default_factory=lambda: {clients: [] for clients in CLIENTS})
    rss_mib: float = 0.0

    def middle(self, clients: int, what: str) -> float:
        """The median of the rounds."""
        return float(median(getattr(one, what) for one in self.loads[clients]))

    def sound(self, clients: int) -> bool:
        """Whether it answered, in every round, and nearly always well."""
        return all(one.requests and one.failed <= FAILED * one.requests for one in self.loads[clients])


@dataclass
class Result:
    """One model. `loop` and `run`: the loop without a server and `session.run` alone, per round."""

    model: str
    servers: list[Measured]
    unavailable: dict[str, str]
    loop: list[Mapping[str, float]] = field(default_factory=list)
    run: list[Mapping[str, float]] = field(default_factory=list)
    sweep: dict[int, float] = field(default_factory=dict)
    """Batch size → requests per second of the loop."""

    def find(self, name: str, variant: str) -> Measured | None:
        return next((one for one in self.servers if (one.name, one.variant) == (name, variant)), None)

    @property
    def peers(self) -> list[Measured]:
        return [one for one in self.servers if one.name != OURS]

    def tail(self) -> tuple[float, Measured] | None:
        """Our p99 at 32 clients against the best peer's, and that peer."""
        ours, peer = self.find(OURS, "default"), best(self.peers, MANY, "p99", min)
        return None if ours is None or peer is None else (ours.middle(MANY, "p99") / peer.middle(MANY, "p99"), peer)

    def least_mean(self) -> float:
        """The least mean latency, ms, of 32 connections in a closed loop: Little's law at the loop's speed."""
        return MANY / median(one["rps"] for one in self.loop) * 1000


def bars(results: Iterable[Result]) -> list[Bar]:
    """Those of the models that were measured; those against a peer only where it was. The main one comes last."""
    results = list(results)
    found: list[Bar] = []
    unavailable = 0
    loads = [
        one for result in results for server in result.servers for several in server.loads.values() for one in several
    ]
    for result in sorted(results, key=lambda one: one.model == "mlp"):
        unavailable += len(result.unavailable)
        ours = result.find(OURS, "default")
        if ours is None:
            raise ValueError(f"{result.model}: our own server was not measured: {result.unavailable}")
        found += _small(result, ours) if result.model == "mlp" else _large(result, ours)
    return [
        Bar("servers that could not be measured", unavailable, 0),
        Bar("share of its core that the client used, its busiest round", max(one.client for one in loads), 0.9),
        *found,
    ]


def _small(result: Result, ours: Measured) -> list[Bar]:
    """The small model: all the time is the server's."""
    found = [
        Bar("mlp, 1 client: p50 over session.run, µs", _over(result, ours, "p50"), 150),
        Bar("mlp, 1 client: p99 over session.run, ms", _over(result, ours, "p99") / 1000, 1),
        *_batching(result, ours),
    ]
    vectorised = result.find(*VECTORISED)
    if vectorised is not None:
        ratio = ours.middle(MANY, "rps") / vectorised.middle(MANY, "rps")
        found.append(Bar("mlp, 32 clients: times TorchServe's vectorised batching", ratio, 1, at_least=True))
    tail = result.tail()
    if tail is not None:
        ratio, peer = tail
        found.append(Bar(f"mlp, 32 clients: p99 against the best peer's ({peer.label})", ratio, 0.5))
    return [*found, *_peers(result, ours)]


def _peers(result: Result, ours: Measured) -> list[Bar]:
    limits = {FEW: 2.0, MANY: 5.0}
    among = [one for one in result.peers if (one.name, one.variant) != VECTORISED]  # it has a bar of its own
    return [
        Bar(
            f"mlp, {count(clients)}: times the best peer ({peer.label})",
            ours.middle(clients, "rps") / peer.middle(clients, "rps"),
            limit,
            at_least=True,
        )
        for clients, limit in limits.items()
        if (peer := best(among, clients, "rps", max)) is not None
    ]


def _large(result: Result, ours: Measured) -> list[Bar]:
    """MiniLM: nearly all the time is the model's."""
    name = result.model
    found = [
        Bar(f"{name}: seconds from spawn to the first prediction", median(ours.first_seconds), 0.7),
        Bar(f"{name}: MiB of resident memory after load", ours.rss_mib, 160),
    ]
    toolkits = [one for one in result.peers if (one.name, one.variant) in TOOLKITS]
    for clients in CLIENTS:
        quickest = best(toolkits, clients, "rps", max)
        if quickest is not None:
            ratio = ours.middle(clients, "rps") / quickest.middle(clients, "rps")
            what = f"{name}, {count(clients)}: times AWS's toolkits ({quickest.label})"
            found.append(Bar(what, ratio, 1.3, at_least=True))
    for clients in CLIENTS:
        pairs = zip(ours.loads[clients], result.loop, strict=True)
        ratio = median(one.rps / loop["rps"] for one, loop in pairs)
        found.append(Bar(f"{name}, {count(clients)}: share of the loop without a server", ratio, 0.97, at_least=True))
    return found


def _over(result: Result, ours: Measured, what: str) -> float:
    """µs that a request takes over `session.run`, the median of the rounds' differences."""
    pairs = zip(ours.loads[FEW], result.run, strict=True)
    return float(median(getattr(one, what) * 1000 - run[f"{what}_us"] for one, run in pairs))


def _batching(result: Result, ours: Measured) -> list[Bar]:
    """Ours against itself without batching, round by round."""
    single = result.find(OURS, "batch 1")
    if single is None:
        return []
    gain = {
        clients: median(a.rps / b.rps for a, b in zip(ours.loads[clients], single.loads[clients], strict=True))
        for clients in CLIENTS
    }
    return [
        Bar("mlp, 1 client: batching over batch 1, a penalty of at most 5 %", gain[FEW], 0.95, at_least=True),
        Bar("mlp, 32 clients: batching over batch 1", gain[MANY], 1, at_least=True),
    ]


def best(among: Sequence[Measured], clients: int, what: str, choose: Callable[..., Measured | None]) -> Measured | None:
    sound = [one for one in among if one.sound(clients)]
    return choose(sound, key=lambda one: one.middle(clients, what), default=None)


def count(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"
