"""The comment on a pull request: Markdown of one screen, everything else in folds. Pure.

First what decides (missed gates, policies, interruptions), then figures before → after, then details to unfold.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from infra.cost import Cost, dollars, total
from slipway.review.changes import FIGURES, Changes, ModelChange
from slipway.review.hazards import warnings
from slipway.review.infrastructure import KEPT_WHEN_REPLACED, ResourceChange, Violation

KIND_WORDS = {
    "new": "new",
    "removed": "removed",
    "artifact": "new version",
    "hosting": "hosting only",
    "failed": "**not built**",
}
OPERATION_SIGNS = {"create": "＋", "update": "～", "replace": "±", "delete": "−"}
OPERATION_WORDS = {"create": "to create", "update": "to update", "replace": "to replace", "delete": "to delete"}
SHOWN_WARNINGS = 5


@dataclass(frozen=True)
class Review:
    """All that a comment tells of one environment. What was not looked at is None, and is said not to be known."""

    environment: str
    base: str
    changes: Changes
    resources: Sequence[ResourceChange] | None = None
    failure: str = ""
    """What the preview said, where it failed."""
    costs: Mapping[str, tuple[Cost | None, Cost | None]] = field(default_factory=dict)
    """Model → cost a month before and after; all models of the stack, so that there is a sum."""
    violations: Sequence[Violation] | None = None

    @property
    def blocked(self) -> list[str]:
        """Why this should not be merged, each in a few words."""
        return [
            *(f"`{change.name}` was not built" for change in self.changes.models if change.kind == "failed"),
            *(f"`{change.name}` misses {_gates(change)}" for change in self.changes.models if change.missed),
            *(["the preview failed"] if self.failure else []),
            *(f"policy `{one.rule}` is violated by `{one.resource}`" for one in self.violations or () if one.mandatory),
        ]


def marker(environment: str) -> str:
    """By which a later run finds the comment to edit."""
    return f"<!-- slipway review of {environment} -->"


def markdown(review: Review) -> str:
    """GitHub-flavoured; GitLab shows the same."""
    return "\n\n".join(part for part in _parts(review) if part) + "\n"


def _parts(review: Review) -> Iterator[str]:
    yield marker(review.environment) + f"\n### Slipway · {review.environment}: {_headline(review)}"
    yield "\n".join(f"- ✗ {reason}" for reason in review.blocked)
    yield _table(review)
    yield _infrastructure(review)
    yield _warnings(review)
    yield _fold_failures(review)
    yield _fold_gates(review)
    yield _fold_resources(review)
    yield _fold_costs(review)
    yield _fold_violations(review)
    yield _footer(review)


def _headline(review: Review) -> str:
    changed = len(review.changes.models)
    if not changed and not review.resources and not review.blocked:
        return "nothing changes" if review.resources is not None else "no model changes"
    said = f"{changed} model{'s' if changed != 1 else ''} change{'s' if changed == 1 else ''}"
    if not changed:
        said = "no model changes"
    return f"{said} · {'✗ do not merge' if review.blocked else '✓ all gates hold'}"


def _table(review: Review) -> str:
    models = review.changes.models
    if not models:
        return ""
    shown = [name for name in FIGURES if any(any(figure is not None for figure in one.figures(name)) for one in models)]
    metrics = {(one.after or one.before).chosen.metric for one in models if one.after or one.before}  # type: ignore[union-attr]
    score = metrics.pop() if len(metrics) == 1 else "score"
    heading = ["model", "change", *(FIGURES[name][0] or score for name in shown), "USD/month"]
    rows = [
        [
            f"`{one.name}`",
            KIND_WORDS[one.kind],
            *(_figure(one, name) for name in shown),
            _money(*review.costs.get(one.name, (None, None))),
        ]
        for one in models
    ]
    return _rows(heading, rows)


def _figure(change: ModelChange, name: str) -> str:
    before, after = change.figures(name)
    if change.kind in ("hosting", "removed", "new") or before is None or after is None:
        # One value says it all: the artifact is the same, or there is nothing beside it.
        return _number(after if after is not None else before)
    if _number(before) == _number(after):
        return _number(after)
    better = (after > before) == FIGURES[name][1]
    return f"{_number(before)} → {_number(after)} {'▲' if better else '▼'}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.4g}"


def _money(before: Cost | None, after: Cost | None) -> str:
    old, new = _range(before), _range(after)
    if before is None or after is None:
        return new if before is None else f"{old} → 0" if after is None else "–"
    return new if old == new else f"{old} → {new}"


def _range(cost: Cost | None) -> str:
    if cost is None:
        return "–"
    if cost.minimum is None and cost.maximum is None:
        return "unknown"
    if cost.minimum == cost.maximum:
        return _usd(cost.minimum)
    return f"{_usd(cost.minimum)}…{_usd(cost.maximum)}"


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"


def _infrastructure(review: Review) -> str:
    if review.failure:
        return ""
    if review.resources is None:
        return "**Infrastructure:** not looked at."
    if not review.resources:
        return "**Infrastructure:** nothing changes."
    counts = [
        f"{sum(one.operation == operation for one in review.resources)} {words}"
        for operation, words in OPERATION_WORDS.items()
        if any(one.operation == operation for one in review.resources)
    ]
    interruptions = [f"- ⚠ `{one.model or one.name}`: {one.interrupts}" for one in review.resources if one.interrupts]
    calm = "" if interruptions else ", no endpoint is interrupted"
    return "\n".join([f"**Infrastructure:** {', '.join(counts)}{calm}.", *interruptions])


def _warnings(review: Review) -> str:
    told = [
        f"- ⚠ `{change.name}`: {sentence}"
        for change in review.changes.models
        for sentence in warnings(change, review.environment)
    ]
    over = len(told) - SHOWN_WARNINGS
    if over > 1:
        rest = "\n".join(told[SHOWN_WARNINGS:])
        return "\n".join(told[:SHOWN_WARNINGS]) + "\n\n" + _fold(f"{over} more warnings", rest)
    return "\n".join(told)


def _fold_failures(review: Review) -> str:
    texts = [(f"Build of {one.name}", one.failure) for one in review.changes.models if one.failure]
    if review.failure:
        texts.append(("Preview", review.failure))
    return "\n\n".join(_fold(f"{title}: what it said", _code(text)) for title, text in texts)


def _fold_gates(review: Review) -> str:
    rows = [
        [
            f"`{one.name}`",
            f"`{gate.gate}`",
            f"{gate.limit:g}",
            _number(gate.measured),
            "held" if gate.passed else "**not resolved**" if gate.unresolved else "**missed**",
        ]
        for one in review.changes.models
        if one.kind in ("new", "artifact")
        for gate in one.gates
    ]
    if not rows:
        return ""
    missed = sum("held" not in row[-1] for row in rows)
    title = f"Gates: {len(rows) - missed} held" + (f", {missed} missed" if missed else "")
    return _fold(title, _rows(["model", "gate", "limit", "measured", ""], rows))


def _fold_resources(review: Review) -> str:
    if not review.resources:
        return ""
    lines = []
    for one in review.resources:
        changed = f": {', '.join(one.properties)}" if one.properties and one.operation in ("update", "replace") else ""
        beside = " (the new one first)" if one.operation == "replace" and one.type in KEPT_WHEN_REPLACED else ""
        lines.append(f"- {OPERATION_SIGNS[one.operation]} {one.what} `{one.name}`{changed}{beside}")
    return _fold(f"Infrastructure: {len(lines)} resource{'s' if len(lines) != 1 else ''}", "\n".join(lines))


def _fold_costs(review: Review) -> str:
    if not review.costs or not review.changes.models:
        return ""
    before = total(cost for cost, _ in review.costs.values() if cost)
    after = total(cost for _, cost in review.costs.values() if cost)
    rows = [[f"`{name}`", *_three(old), *_three(new)] for name, (old, new) in sorted(review.costs.items())] + [
        ["all", *_three(before), *_three(after)]
    ]
    heading = ["model", "min before", "expected", "max", "min after", "expected", "max"]
    reasons = "\n".join(f"- unknown: {reason}" for reason in after.reasons)
    title = f"Cost a month: {_money(before, after)} USD"
    return _fold(title, _rows(heading, rows) + (f"\n\n{reasons}" if reasons else ""))


def _three(cost: Cost | None) -> list[str]:
    return ["–"] * 3 if cost is None else [dollars(cost.minimum), dollars(cost.expected), dollars(cost.maximum)]


def _fold_violations(review: Review) -> str:
    if review.violations is None:
        return ""
    if not review.violations:
        return "**Policies:** all hold."
    lines = [
        f"- {'✗' if one.mandatory else '⚠'} `{one.rule}`, `{one.resource}`: {_line(one.message)}"
        for one in review.violations
    ]
    mandatory = sum(one.mandatory for one in review.violations)
    return _fold(f"Policies: {mandatory} violated, {len(lines) - mandatory} advice", "\n".join(lines))


def _footer(review: Review) -> str:
    same = len(review.changes.unchanged)
    unchanged = f"{same} other model{'s' if same != 1 else ''} unchanged · " if same else ""
    return f"<sub>{unchanged}beside `{review.base}` · costs on demand, without tax · ▲ better ▼ worse</sub>"


def _gates(change: ModelChange) -> str:
    return ", ".join(f"`{gate.gate}`" for gate in change.missed)


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _code(text: str) -> str:
    """A block whose fence the text cannot close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text.strip()}\n{fence}"


def _line(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False)


def _rows(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    aligned = [":--" if index < 2 else "--:" for index in range(len(heading))]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (heading, aligned, *rows)
    )
