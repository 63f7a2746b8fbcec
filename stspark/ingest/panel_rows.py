"""Raw rows of a panel source to `panel`: one row per region and date."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.ingest import clean
from stspark.ingest.files import SQL
from stspark.ingest.formats import FILE
from stspark.settings import Covariate, Settings, Source


def covariate_columns(settings: Settings) -> list[str]:
    """Their columns that a panel's files need for its covariates; none for a source of events."""
    if settings.source.kind == "events":
        return []
    ours = panel_columns(settings.source, settings.covariates)
    return [
        theirs for name, theirs in ours.items() if name not in settings.source.columns and not theirs.startswith(SQL)
    ]


def panel_columns(source: Source, covariates: tuple[Covariate, ...]) -> dict[str, str]:
    """The source's mapping with its covariates: our name -> their column."""
    own = {c.name: c.column or c.name for c in covariates if c.column is not None or c.file is None}
    melted = {"date": "date"} if source.layout == "wide" else {}
    return {**source.columns, **melted, **own}


def classify_panel(raw: DataFrame, settings: Settings, regions: DataFrame) -> DataFrame:
    """Type every row and give it a reason where it is not usable; an empty target is a known gap, not an error."""
    columns = panel_columns(settings.source, settings.covariates)
    frame = clean.map_columns(raw, columns)
    frame, dates = clean.parse_dates(frame, "date")
    frame, numbers = clean.parse_numbers(frame, [c for c in columns if c not in ("date", "region")])
    known = regions.select("region", F.lit(True).alias("_known"))
    frame = frame.join(F.broadcast(known), "region", "left")
    checks = [
        clean.malformed(),
        *clean.undecoded(["date", "region"]),
        *clean.required([clean.text_of("date"), "region"]),
        *dates,
        *numbers,
        clean.Check("region", "unknown_region", F.col("_known").isNull()),
        *clean.rule_checks(settings.source.rules),
    ]
    return clean.mark_duplicates(clean.apply_checks(frame, checks), ["region", "date"], "repeated_key")


def to_panel(classified: DataFrame) -> DataFrame:
    """Usable rows of the panel."""
    kept = classified.where(F.col(clean.REASON).isNull() & ~F.col(clean.DUPLICATE))
    return kept.withColumns(
        {"source_file": F.col(FILE), "ingest_id": F.col(clean.INGEST), "row_hash": clean.fingerprint()}
    )
