"""A page beside the report: head, title, sections and tables; one file that loads nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path

from stspark.report.markup import Html, tag

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def head(title: str, policy: str) -> Html:
    """What stands before a page's body; a browser holds the page to its policy."""
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(files("stspark.report").joinpath("page.css").read_text(encoding="utf-8"))),
    )


def page(title: str, as_of: date, sections: Iterable[tuple[str, Html]]) -> str:
    """The whole page as HTML text."""
    body = [
        tag("header", tag("h1", title), tag("p", f"as of {as_of}")),
        tag("main", *(tag("section", tag("h2", name), content) for name, content in sections)),
    ]
    return "<!doctype html>\n" + tag("html", head(title, POLICY), tag("body", *body), lang="en") + "\n"


def table(columns: Sequence[str], rows: Sequence[Html], numbers: Sequence[str] = (), nothing: str = "") -> Html:
    """A card with a table; columns in `numbers` stand to the right; `nothing` is said where there are no rows."""
    if not rows:
        return tag("div", tag("p", nothing), class_="card")
    line = tag("tr", *(tag("th", text, class_="num" if text in numbers else None) for text in columns))
    return tag("div", tag("table", tag("thead", line), tag("tbody", *rows)), class_="card scroll")


def write(text: str, path: Path) -> None:
    """Put the page in its place at once: a reader sees the old one or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
