"""Rejected rows as examples: what was at fault first, and nothing that says who the user is."""

from __future__ import annotations

import json
from collections.abc import Mapping

from stspark.columns import speaks_of

HIDDEN = "(hidden)"
UNREADABLE = "(a line that does not fall into columns; not shown, since it may name a user)"


def example(raw: str | None, at_fault: str | None, mapping: Mapping[str, str]) -> str | None:
    """The raw row (JSON) with the columns at fault in front and the user's hidden; a page is passed on.

    at_fault: our name of the column; mapping: our names to what they are made of (the config's source.columns).

    >>> example('{"Customer":"17850","Price":"12,5O"}', "price", {"price": "Price", "user_id": "Customer"})
    '{"Price":"12,5O","Customer":"(hidden)"}'
    """
    user = mapping.get("user_id", "")
    if raw is None:
        return None
    try:
        row = json.loads(raw)
    except json.JSONDecodeError:
        return UNREADABLE if user else raw
    if not isinstance(row, dict):
        return UNREADABLE if user else raw
    shown = {key: HIDDEN if value is not None and speaks_of(user, key) else value for key, value in row.items()}
    made_of = mapping.get(at_fault or "", at_fault or "")
    ordered = dict(sorted(shown.items(), key=lambda pair: not speaks_of(made_of, pair[0])))
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
