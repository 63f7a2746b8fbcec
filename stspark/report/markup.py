"""HTML and SVG as text that cannot be injected into: whatever is not `Html` already is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset(("br", "circle", "input", "line", "meta", "path", "polygon", "rect"))
"""Elements that are written without content."""


class Html(str):
    """Text that is markup already; every other text is escaped when it enters a tag."""

    __slots__ = ()


Child = str | float | None
"""What a tag may hold: markup, text, a number, or nothing."""
Value = str | float | bool | None
"""What an attribute may be: None and False leave it out, True writes its bare name."""


def tag(name: str, /, *children: Child, **attributes: Value) -> Html:
    """One element; `class_` and `data_x` become `class` and `data-x`.

    >>> tag("b", "x < y", class_="hot")
    '<b class="hot">x &lt; y</b>'
    """
    opening = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{opening}>" if name in ("br", "input", "meta") else f"<{opening}/>")
    return Html(f"<{opening}>{join(children)}</{name}>")


def join(children: Iterable[Child], between: str = "") -> Html:
    """The children as one piece of markup, escaped where they are plain text."""
    return Html(between.join(escape(child) for child in children if child is not None))


def escape(child: Child) -> Html:
    """Plain text as markup; markup as it is."""
    return child if isinstance(child, Html) else Html(html.escape(_text(child)))


def _attribute(key: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(_text(value))}"'


def _text(value: Child) -> str:
    """Numbers with at most one decimal (pixels need no more)."""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return "" if value is None else str(value)
