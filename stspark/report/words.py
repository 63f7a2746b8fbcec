"""Numbers, shares and days as people read them; what is not known is a dash."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

UNKNOWN = "–"


def number(value: float | None) -> str:
    """About four digits, grouped by thousands: 12,346; 123; 12.3; 1.23."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    digits = 0 if size >= 100 or value == round(value) else 1 if size >= 10 else 2
    return _minus(f"{value:,.{digits}f}")


def whole(value: float | None) -> str:
    """A count, grouped by thousands."""
    return UNKNOWN if value is None or not math.isfinite(value) else _minus(f"{value:,.0f}")


def tick(value: float) -> str:
    """A round number on an axis: 500; 12k; 1.5M."""
    size = abs(value)
    if size >= 1e6:
        return _minus(f"{value / 1e6:g}M")
    return _minus(f"{value / 1e3:g}k" if size >= 1e4 else f"{value:,.10g}")


def percent(share: float | None, digits: int = 1) -> str:
    """0.1423 -> 14.2%."""
    return UNKNOWN if share is None or not math.isfinite(share) else _minus(f"{100 * share:,.{digits}f}%")


def error(share: float | None) -> str:
    """A WAPE with three digits or so: 14.2%, 2.97%."""
    return percent(share, 2 if share is not None and abs(share) < 0.0995 else 1)


def signed(share: float | None, digits: int = 0) -> str:
    """0.12 -> +12%; a change that rounds to nothing has no sign."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    text = f"{100 * share:+,.{digits}f}%"
    return _minus(text.lstrip("+-") if float(text.rstrip("%").replace(",", "")) == 0 else text)


def seconds(value: float | None) -> str:
    """Fewer decimals the longer it took: 0.42 s; 12 s; 3 min 20 s."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value < 100:
        return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    return f"{int(value) // 60} min {int(value) % 60} s"


def day(when: pd.Timestamp) -> str:
    """Sat 31 May 2025."""
    return f"{when:%a} {when.day} {when:%b %Y}"


def short_day(when: pd.Timestamp) -> str:
    """31 May."""
    return f"{when.day} {when:%b}"


def span(first: pd.Timestamp, last: pd.Timestamp) -> str:
    """1 to 7 June 2025, naming month and year once where they are shared."""
    if first == last:
        return f"{first.day} {first:%B %Y}"
    start = f"{first.day}"
    if (first.year, first.month) != (last.year, last.month):
        start += f" {first:%B}" + (f" {first.year}" if first.year != last.year else "")
    return f"{start} to {last.day} {last:%B %Y}"


def listing(names: Sequence[str], most: int = 6) -> str:
    """A, B and C; beyond `most`, how many more there are."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def plural(count: float, thing: str) -> str:
    """1 region, 24 regions."""
    return f"{whole(count)} {thing}" + ("" if count == 1 else "s")


def _minus(text: str) -> str:
    """A typographic minus, and no negative zero."""
    return text.lstrip("-") if text.startswith("-") and not text.strip("-0.,%kM") else text.replace("-", "−")
