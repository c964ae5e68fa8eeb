"""The drawings of `report.html` as inline SVG: no script and no library, so that the page stands alone.

Apart from `report_html`, which lays out the page. Colours are the page's own, by class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10, sqrt

LARGEST = 34
"""Radius of the largest model."""
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Spot:
    """One model of the plot. `kind` is source, best, passes or misses; `tip` is shown on hover."""

    mark: str
    x: float
    y: float
    area: float
    kind: str
    tip: str


@dataclass(frozen=True)
class Limits:
    """Gates in the units of the axes: the highest latency, the lowest score."""

    x: float | None = None
    y: float | None = None


def scatter(
    spots: Sequence[Spot], limits: Limits, titles: tuple[str, str], *, width: int = 1000, height: int = 420
) -> str:
    """Latency to the right on a logarithmic axis, score upwards, size as area; the line joins what nothing beats."""
    left, right, top, bottom = 64, width - 36, 20, height - 44
    xs = [spot.x for spot in spots] + ([limits.x] if limits.x else [])
    ys = [spot.y for spot in spots] + ([limits.y] if limits.y is not None else [])
    low_x, high_x = log10(min(xs)) - 0.12, log10(max(xs)) + 0.12
    pad = max((max(ys) - min(ys)) * 0.18, 0.002)
    low_y, high_y = min(ys) - pad, max(ys) + pad

    def x(value: float) -> float:
        return left + (log10(value) - low_x) / (high_x - low_x) * (right - left)

    def y(value: float) -> float:
        return bottom - (value - low_y) / (high_y - low_y) * (bottom - top)

    largest = max(spot.area for spot in spots)
    radii = [max(sqrt(spot.area / largest) * LARGEST, 5) for spot in spots]
    parts = [
        *_x_axis(x, low_x, high_x, top, bottom),
        *_y_axis(y, low_y, high_y, left, right),
        f'<text x="{right}" y="{height - 6}" text-anchor="end">{escape(titles[0])}</text>',
        f'<text x="{left - 56}" y="12">{escape(titles[1])}</text>',
    ]
    if limits.x:
        at = f"{x(limits.x):.1f}"
        parts.append(f'<line class="limit" x1="{at}" x2="{at}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text x="{x(limits.x) + 5:.1f}" y="{bottom - 6}">at most {limits.x:.3g}</text>')
    if limits.y is not None:
        at = f"{y(limits.y):.1f}"
        parts.append(f'<line class="limit" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{left + 5}" y="{y(limits.y) - 5:.1f}">at least {limits.y:.4g}</text>')
    parts.append(_front(spots, x, y))
    for radius, spot in sorted(zip(radii, spots, strict=True), key=lambda pair: -pair[0]):
        at_x, at_y = x(spot.x), y(spot.y)
        parts.append(
            f'<g class="spot"><title>{escape(spot.tip)}</title>'
            f'<circle class="point {spot.kind}" cx="{at_x:.1f}" cy="{at_y:.1f}" r="{radius:.1f}"/>'
            f'<circle class="dot {spot.kind}" cx="{at_x:.1f}" cy="{at_y:.1f}" r="2.5"/></g>'
        )
    parts += _marks(
        [(spot.mark, x(spot.x), y(spot.y) - radius - 4) for radius, spot in zip(radii, spots, strict=True)], top
    )
    return _svg(width, height, parts, "Score against latency of every candidate")


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other is both as quick as and as good as: latency low, score high. Sorted by latency."""
    best: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda one: (one[0], -one[1])):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best


def _front(spots: Sequence[Spot], x: Scale, y: Scale) -> str:
    found = front([(spot.x, spot.y) for spot in spots])
    if len(found) < 2:
        return ""
    path = f"M{x(found[0][0]):.1f} {y(found[0][1]):.1f}"
    path += "".join(f"H{x(one):.1f}V{y(score):.1f}" for one, score in found[1:])
    return f'<path class="front" d="{path}"/>'


def _marks(marks: Sequence[tuple[str, float, float]], top: float) -> Iterator[str]:
    """Numbers at their places, moved up where two would meet."""
    placed: list[tuple[float, float]] = []
    for mark, at_x, at_y in sorted(marks, key=lambda one: (one[1], -one[2])):
        text_y = at_y
        while any(
            abs(at_x - other_x) < 9 * len(mark) + 9 and abs(text_y - other_y) < 14 for other_x, other_y in placed
        ):
            text_y -= 14
        if text_y < top:
            text_y = top + 10
        placed.append((at_x, text_y))
        yield f'<g class="spot"><text x="{at_x:.1f}" y="{text_y:.1f}" text-anchor="middle">{escape(mark)}</text></g>'


def _x_axis(x: Scale, low: float, high: float, top: float, bottom: float) -> Iterator[str]:
    for exponent in range(floor(low), ceil(high) + 1):
        for digit in (1, 2, 5):
            value = digit * 10.0**exponent
            if low <= log10(value) <= high:
                at = f"{x(value):.1f}"
                yield f'<line class="axis" x1="{at}" x2="{at}" y1="{top}" y2="{bottom}"/>'
                yield f'<text x="{at}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>'


def _y_axis(y: Scale, low: float, high: float, left: float, right: float) -> Iterator[str]:
    step = _round_step((high - low) / 5)
    digits = max(0, -floor(log10(step)))
    for number in range(ceil(low / step), floor(high / step) + 1):
        at = y(number * step)
        yield f'<line class="axis" x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{number * step:.{digits}f}</text>'


def _round_step(rough: float) -> float:
    unit = 10.0 ** floor(log10(rough))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= rough)


def bars(rows: Sequence[tuple[str, float, bool]], unit: str, *, width: int = 1000) -> str:
    """A bar for each (name, value, quiet), the longest over the whole width."""
    row, left = 26, 430
    longest = max((value for _, value, _ in rows), default=1) or 1
    parts = []
    for number, (name, value, quiet) in enumerate(rows):
        y = number * row
        length = value / longest * (width - left - 130)
        shown = name if len(name) <= 58 else "…" + name[-57:]  # candidates differ at their ends
        note = " (cached)" if quiet else ""
        parts.append(
            f"<g><title>{escape(name)}: {value:.1f} {unit}{note}</title>"
            f'<text x="{left - 10}" y="{y + 17}" text-anchor="end">{escape(shown)}</text>'
            f'<rect class="bar{" cached" if quiet else ""}" x="{left}" y="{y + 5}" width="{max(length, 1):.1f}" '
            f'height="16" rx="2"/><text x="{left + length + 8:.1f}" y="{y + 17}">{value:.1f} {unit}{note}</text></g>'
        )
    return _svg(width, row * len(rows), parts, "Seconds of each step")


def strip(low: float, middle: float, high: float, scale: tuple[float, float], tip: str) -> str:
    """A range with its median on a logarithmic scale that the strips of a table share."""
    width, height = 180, 18
    start, end = log10(scale[0]), log10(scale[1])

    def x(value: float) -> float:
        return 6 + (log10(value) - start) / ((end - start) or 1) * (width - 12)

    parts = [
        f"<title>{escape(tip)}</title>",
        f'<line class="range" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="9" y2="9"/>',
        f'<circle class="tick" cx="{x(middle):.1f}" cy="9" r="4"/>',
    ]
    return _svg(width, height, parts, tip)


def dumbbell(before: float, after: float, low: float, tip: str) -> str:
    """Two shares on one line from `low` to 1: before hollow, after filled."""
    width, height = 180, 18

    def x(value: float) -> float:
        return 6 + (value - low) / ((1 - low) or 1) * (width - 12)

    parts = [
        f"<title>{escape(tip)}</title>",
        f'<line class="range" x1="{x(before):.1f}" x2="{x(after):.1f}" y1="9" y2="9"/>',
        f'<circle class="tick was" cx="{x(before):.1f}" cy="9" r="4.5"/>',
        f'<circle class="tick" cx="{x(after):.1f}" cy="9" r="3.5"/>',
    ]
    return _svg(width, height, parts, tip)


def _svg(width: float, height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
