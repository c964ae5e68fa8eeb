"""`optimize: auto`: grows candidates by what helped, drops what does not pay, and stops when its time is up.

Best first: the best candidate so far is taken, every move of `moves` that fits it is built and measured beside it, and
those that paid are grown in turn. It ranks on the half of the calibration samples that no pass saw, and never looks at
the evaluation data: a few finalists are then gated there, as candidates that a spec names are.

    candidates of the spec ─▶ take the best ─▶ moves ─▶ build ─▶ measure on held-out samples ─┬▶ pruned: misses a gate
                                   ▲                                                          ├▶ dropped: does not pay
                                   └──────────────────────────────────────────────────────────┴▶ kept
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any, Literal

from model_build import moves, paired
from model_build.candidates import Candidate
from model_build.deployment import seconds
from model_build.dominance import FASTER, speed, unpaid
from model_build.errors import UserError
from model_build.evidence import Evidence, Samples, compare
from model_build.metrics import metric_of
from model_build.passes.base import Model
from model_build.spec import Spec, Step
from model_build.workshop import Workshop

FINALISTS = 4
"""Found candidates that are gated on the evaluation data: the more there are, the likelier one passes by luck."""
DEVIATIONS = 2
"""Standard deviations of a count of errors that a candidate may exceed a limit by and still be grown."""

Plan = Callable[[Sequence[tuple[Step, ...]]], list[Candidate]]
Make = Callable[[Iterable[Candidate]], Iterator[tuple[Candidate, UserError | None]]]
"""Makes the models of candidates, and takes the next one when it can begin it: what became of each, as they end."""
Status = Literal["finalist", "kept", "dropped", "pruned", "skipped"]


@dataclass
class Tried:
    """What became of one candidate, for the report."""

    label: str
    status: Status
    why: str = ""
    score: float | None = None
    ratio: float | None = None
    """Of the first candidate's median latency, in paired rounds."""
    size_mb: float | None = None


@dataclass
class Search:
    """The candidates to gate, and what was tried on the way. `built` has their models."""

    candidates: list[Candidate]
    built: dict[str, Model]
    tried: list[Tried] = field(default_factory=list)
    stopped: str = ""
    spent: float = 0.0

    def as_json(self, budget: str) -> dict[str, Any]:
        return {
            "budget": budget,
            "seconds": round(self.spent, 1),
            "stopped": self.stopped,
            "tried": [asdict(one) for one in self.tried],
        }


def starting(spec: Spec) -> tuple[tuple[Step, ...], ...]:
    """The candidates that a spec names; for one that says only `auto`, the model in the form that can be served."""
    if spec.optimize.auto and "candidates" not in spec.optimize.model_fields_set and spec.source.format == "onnx":
        return ((),)
    return spec.optimize.candidates


def grow(
    workshop: Workshop,
    plan: Plan,
    given: Sequence[tuple[Step, ...]],
    make: Make | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """Searches from the given candidates. They stay candidates whatever it finds. Raises UserError where one fails."""
    return _Growing(workshop, plan, make or workshop.make, clock).run(given)


@dataclass
class _Node:
    candidate: Candidate
    evidence: Evidence
    ratio: float
    lost: bool = False
    """Whether it lost too much accuracy."""

    @property
    def score(self) -> float:
        return self.evidence.measurement.score or 0.0


class _Growing:
    def __init__(self, workshop: Workshop, plan: Plan, make: Make, clock: Callable[[], float]) -> None:
        self.workshop = workshop
        self.spec = workshop.spec
        self.plan = plan
        self.make = make
        self.clock = clock
        self.started = clock()
        self.cut = False
        """Whether something was left untried for lack of time."""
        self.built: dict[str, Model] = {}
        self.tried: dict[str, Tried] = {}
        self.data = self._samples()

    def _samples(self) -> Samples:
        """What is ranked on: the half of the calibration samples that no pass sees; made-up ones without any."""
        if self.spec.data.calibration is None:
            key = self.workshop.inputs.samples_key(None)
            return Samples(key, lambda: self.workshop.samples(None, ""), labelled=False)
        return Samples(self.workshop.half_key(1), lambda: self.workshop.half(1), labelled=True)

    def _time_is_up(self) -> bool:
        self.cut = self.cut or self.clock() - self.started >= seconds(self.spec.optimize.budget)
        return self.cut

    def run(self, given: Sequence[tuple[Step, ...]]) -> Search:
        roots = self.plan(given)
        for root, error in self.make(roots):
            if error:
                raise error
            self.built[root.label] = self.workshop.model(root.steps)
        evidence = compare(self.workshop, roots, self.built, self.data)
        self.reference = roots[0]
        nodes = [_Node(root, evidence[root.label], self._ratio(evidence, root.label)) for root in roots]
        self.seen = {self._key(root) for root in roots}
        found, open_nodes = list(nodes), list(nodes)
        for node in nodes:
            self._judge(node, nodes[0])
        while open_nodes and not self._time_is_up():
            # What lost too much comes last. Stable: between equals, what was found first.
            open_nodes.sort(key=lambda node: (node.lost, self._objective(node)))
            for child in self._grown(open_nodes.pop(0)):
                self._judge(child, nodes[0])
                found.append(child)
                open_nodes.append(child)
        kept = [node for node in found if not node.lost]
        others = [node for node in kept if node.candidate not in roots and self._fits(node, nodes[0])]
        finalists = self._finalists(others)
        for finalist in finalists:
            self.tried[finalist.candidate.label].status = "finalist"
        return Search(
            [*roots, *(finalist.candidate for finalist in finalists)],
            self.built,
            list(self.tried.values()),
            "the budget was spent" if self.cut else "nothing was left to try",
            self.clock() - self.started,
        )

    def _grown(self, parent: _Node) -> list[_Node]:
        """The moves that fit a candidate, built, measured beside it, and judged as to whether they pay."""
        planned: list[Candidate] = []
        for child, error in self.make(self._children(parent, planned)):
            if error:
                self.tried[child.label] = Tried(child.label, "skipped", error.message)
            else:
                self.built[child.label] = self.workshop.model(child.steps)
        # In the order in which they were planned, whichever was made first.
        evidence = self._compared(parent, [child for child in planned if child.label in self.built])
        nodes = []
        for child in planned:
            label = child.label
            if label not in evidence:
                continue
            of_parent, of_child = evidence[label]
            node = _Node(child, of_child[label], self._ratio(of_child, label))
            base, file = (self.built[one].path for one in (parent.candidate.label, label))
            # By the median alone: what noise leaves open is decided among the finalists, with more rounds.
            faster = speed(of_parent, of_child[label]).value < FASTER
            why = unpaid(of_parent, of_child[label], base, file, faster)
            self.tried[label] = self._told(
                node, "dropped" if why else "kept", f"{why} {parent.candidate.label}" if why else ""
            )
            if not why:
                nodes.append(node)
        return nodes

    def _children(self, parent: _Node, planned: list[Candidate]) -> Iterator[Candidate]:
        """The moves that fit a candidate, until the time is up; each is noted in `planned` as it is taken."""
        for steps in moves.grown(
            parent.candidate.given,
            self.spec.source.format,
            moves.traits(self.built[parent.candidate.label].path),
            calibration=self.spec.data.calibration is not None,
            training=self.spec.data.training is not None,
            mending=parent.lost,
        ):
            if self._time_is_up():
                return
            (child,) = self.plan([steps])
            if self._key(child) not in self.seen:
                self.seen.add(self._key(child))
                planned.append(child)
                yield child

    def _compared(
        self, parent: _Node, children: Sequence[Candidate]
    ) -> dict[str, tuple[Evidence, Mapping[str, Evidence]]]:
        """By child: the evidence of its parent, and that of all that it was measured with.

        Together, or one by one where one of them cannot be run.
        """
        if not children:
            return {}
        others = list({one.label: one for one in (self.reference, parent.candidate)}.values())
        try:
            together = compare(self.workshop, [*others, *children], self.built, self.data)
            return {child.label: (together[parent.candidate.label], together) for child in children}
        except UserError as error:
            if len(children) == 1:
                self.tried[children[0].label] = Tried(children[0].label, "skipped", error.message)
                return {}
        return {label: found for child in children for label, found in self._compared(parent, [child]).items()}

    def _ratio(self, evidence: Mapping[str, Evidence], label: str) -> float:
        one, reference = ([p50 for p50, _ in evidence[name].latency.rounds] for name in (label, self.reference.label))
        return paired.ratio(one, reference).value

    def _judge(self, node: _Node, reference: _Node) -> None:
        """Prunes a candidate that lost too much accuracy: only a pass that mends makes it better.

        A limit on time, size or memory does not prune: the next pass may be what meets it.
        """
        label = node.candidate.label
        self.tried.setdefault(label, self._told(node, "kept", "named by the spec"))
        why = self._misses(node.evidence, reference.evidence)
        if why:
            node.lost, self.tried[label].status, self.tried[label].why = True, "pruned", why

    def _misses(self, one: Evidence, reference: Evidence) -> str:
        """Why the accuracy gate is missed on the held-out samples, by more than their number leaves to chance."""
        gate = self.spec.gates.accuracy
        if gate is None or one.score is None or reference.score is None:
            return ""
        samples = one.score.samples
        if gate.max_drop is not None:
            allowed = gate.max_drop * samples
            lost = (reference.score.value - one.score.value) * samples
            if lost > allowed + DEVIATIONS * sqrt(allowed + 1):
                return f"loses {lost / samples:.3f} of the {metric_of(self.spec)} on {samples} held-out samples"
        if gate.min is not None:
            allowed = (1 - gate.min) * samples
            wrong = samples * (1 - one.score.value)
            if wrong > allowed + DEVIATIONS * sqrt(allowed + 1):
                return f"{metric_of(self.spec)} is {one.score.value:.3f} on {samples} held-out samples"
        return ""

    def _objective(self, node: _Node) -> tuple[float, float]:
        size = node.evidence.measurement.size_mb
        return (node.ratio, size) if self.spec.optimize.choose == "fastest" else (size, node.ratio)

    def _finalists(self, found: Sequence[_Node]) -> list[_Node]:
        """Those that are more accurate than all that are better by what is chosen by, and then the next best ones."""
        ordered = sorted(found, key=self._objective)
        best = 0.0
        front = []
        for node in ordered:
            if node.score > best:
                front.append(node)
                best = node.score
        rest = [node for node in ordered if node not in front]
        return sorted([*front, *rest][:FINALISTS], key=self._objective)

    def _fits(self, node: _Node, reference: _Node) -> bool:
        """Whether the size can hold its gate. The reference stands for the source, whose size is a little off."""
        gate = self.spec.gates.size
        if gate is None:
            return True
        size = node.evidence.measurement.size_mb
        limits = [gate.max_mb] if gate.max_mb is not None else []
        limits += [gate.max_ratio * reference.evidence.measurement.size_mb * 1.1] if gate.max_ratio is not None else []
        return all(size <= limit for limit in limits)

    def _told(self, node: _Node, status: Status, why: str) -> Tried:
        measured = node.evidence.measurement
        return Tried(node.candidate.label, status, why, measured.score, round(node.ratio, 4), measured.size_mb)

    @staticmethod
    def _key(candidate: Candidate) -> str:
        return candidate.steps[-1].key if candidate.steps else ""
