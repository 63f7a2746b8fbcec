"""Axes and paths: numbers to pixels of an SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stspark.report.markup import Html, join, tag

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A straight map of [low, high] to pixels [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def clipped(self, value: float) -> float:
        """Pixel of a value, at the nearer end where it lies outside."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, about: int = 5) -> list[float]:
        """Round values within the axis, about so many."""
        step = nice_step((self.high - self.low) / max(about, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 10) for k in range(first, last + 1)]


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 × 10^k that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))


def value_axis(values: Iterable[float], start: float, end: float, about: int = 4) -> Axis:
    """An axis with zero in it that ends at round values; values that are not finite do not count."""
    return round_axis([0.0, *values], start, end, about)


def round_axis(values: Iterable[float], start: float, end: float, about: int = 4) -> Axis:
    """An axis around the finite values that ends at round ones."""
    known = [v for v in values if math.isfinite(v)] or [0.0]
    low, high = min(known), max(known)
    if high == low:
        high = low + 1.0
    step = nice_step((high - low) / about)
    return Axis(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, start, end)


def line(points: Sequence[Point], **attributes: str) -> Html:
    """A path through the points, broken where y is not finite; a point alone is a short dash."""
    pieces = [
        "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in run)
        if len(run) > 1
        else f"M{run[0][0] - 2.5:.1f},{run[0][1]:.1f}h5"
        for run in runs(points)
    ]
    return tag("path", d="".join(pieces), **attributes) if pieces else Html("")


def runs(points: Sequence[Point]) -> list[list[Point]]:
    """The points in pieces without gaps."""
    pieces: list[list[Point]] = []
    gap = True
    for x, y in points:
        if not math.isfinite(y):
            gap = True
            continue
        if gap:
            pieces.append([])
        pieces[-1].append((x, y))
        gap = False
    return pieces


def label(x: float, y: float, text: str, class_: str = "tick", anchor: str = "start") -> Html:
    """A piece of text at a place."""
    return tag("text", text, x=x, y=y, class_=class_, text_anchor=None if anchor == "start" else anchor)


def rule(x1: float, y1: float, x2: float, y2: float, class_: str = "grid") -> Html:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def horizontal_grid(axis: Axis, left: float, right: float, texts: Sequence[tuple[float, str]]) -> Html:
    """Lines across at the given values, each with its text at the left."""
    parts = []
    for value, text in texts:
        y = axis(value)
        parts += [rule(left, y, right, y, "zero" if value == 0 else "grid"), label(left - 6, y + 4, text, anchor="end")]
    return join(parts)


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least `gap` apart, nearest to the wanted ones (pool adjacent violators), within [low, high]."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    pools: list[tuple[float, int]] = []
    for rank, i in enumerate(order):
        pools.append((wanted[i] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    starts = [place for place, n in pools for _ in range(n)]
    top = high - gap * (len(wanted) - 1)
    placed = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        placed[i] = max(min(starts[rank], top), low) + rank * gap
    return placed


def picture(width: float, height: float, title: str, *children: Html, **attributes: str) -> Html:
    """An SVG that scales with the page; `title` is what a screen reader says."""
    return tag("svg", *children, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=title, **attributes)
