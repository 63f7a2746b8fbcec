"""Names that several layers share: models, statuses, columns. Nothing is computed here."""

from __future__ import annotations

NAIVE = "seasonal_naive"
CHAMPION = "champion"
"""The region's chosen model, where a table or metric speaks of it as one."""
COMBINATION = "combination"
"""The weighted mean of all models, as a model of its own."""
NETWORKS = ("stcnn", "stcnn_plain", "lstm", "gru", "transformer")
"""Global models that ranks train together."""
BORROWED = "borrowed"
"""The model of regions with little history."""
PANEL_MODELS = (
    "boosted_trees",
    "shared_seasons",
    "residual_trees",
    "sar",
    "dynamic_sar",
    "stv",
    "foundation",
    BORROWED,
)
"""Global models that one process fits."""
GLOBAL_MODELS = (*NETWORKS, *PANEL_MODELS)
PANEL_PREFIX = "panel:"
"""What the name of a user's own panel model begins with: panel:package.module:Class."""

OBSERVED, CLOSED, MISSING, IMPUTED = "observed", "closed", "missing", "imputed"
"""Status of a region's day. Zero demand is `observed` with a target of 0."""

EVENT_INPUTS = (
    "event_id",
    "event_time",
    "event_type",
    "region",
    "user_id",
    "order_id",
    "item",
    "category",
    "quantity",
    "price",
)
"""What a source of events may map."""

RESERVED = (
    "region",
    "date",
    "target",
    "target_clean",
    "status",
    "orders",
    "users",
    "views",
    "units",
    "price",
    "holiday",
    "holiday_name",
    "is_closed",
)
"""Columns of region_day that a covariate must not be called."""

SHARES = ("own past", "other regions", "coming days", "seasons")
"""What moves a network's forecast away from one without news."""
ALL_REGIONS = "*"
"""Stands for all regions together in `models` and `metrics`."""


def is_global(model: str) -> bool:
    """Tell whether a model's name in config means one for all regions together."""
    return model in GLOBAL_MODELS or model.startswith(PANEL_PREFIX)


def quantile_column(q: float) -> str:
    """Return the column of quantile `q`: 0.1 -> q10, 0.025 -> q2_5."""
    return "q" + f"{100 * q:g}".replace(".", "_")


def expression(theirs: str) -> str:
    """A column mapping as SQL: what follows `sql:`, or the quoted name.

    >>> expression("sql: a + 1"), expression("my lat")
    ('a + 1', '`my lat`')
    """
    return theirs[4:].strip() if theirs.startswith("sql:") else "`" + theirs.replace("`", "``") + "`"
