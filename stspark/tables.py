"""Every table, declared once: columns, types, comments, keys. Schemas, DDL and merges derive from here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from stspark.calendar import event_columns
from stspark.columns import schema_of
from stspark.errors import ConfigError
from stspark.features.declared import FEATURES
from stspark.settings import Settings


@dataclass(frozen=True)
class Column:
    """A column: its Spark SQL type and what an analyst reads about it."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Table:
    """A table: its keys identify a row and are never null; rows are clustered by `clustered`."""

    name: str
    comment: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    clustered: tuple[str, ...] = ()
    without_statistics: tuple[str, ...] = ()
    """Columns whose least and largest values must not stand in the log, where they would outlive their rows."""

    @property
    def column_names(self) -> list[str]:
        return [c.name for c in self.columns]

    @property
    def lasting(self) -> bool:
        """Whether rows of other runs, files or people stand in it, which no rebuild of today's would bring back."""
        return not {"run_id", "source_file", "user_digest"}.isdisjoint(self.column_names)

    def with_columns(self, more: Iterable[Column]) -> Table:
        """The same table with further columns at its end; ConfigError where it has one of that name already."""
        more = tuple(more)
        for column in more:
            if column.name in self.column_names:
                fix = "give the covariate another name"
                raise ConfigError(f"covariates: '{column.name}'", f"is a column of {self.name} already", fix)
        return replace(self, columns=(*self.columns, *more))

    def schema(self) -> StructType:
        """The Spark schema, in order."""
        return schema_of((c.name, c.type) for c in self.columns)

    def select(self, frame: DataFrame) -> DataFrame:
        """Exactly this table's columns, in its order and types; columns that `frame` lacks are null."""
        have = set(frame.columns)
        return frame.select(
            *(
                (F.col(f"`{c.name}`") if c.name in have else F.lit(None)).cast(c.type).alias(c.name)
                for c in self.columns
            )
        )


def _columns(**declared: str) -> tuple[Column, ...]:
    """`name="type: comment"` pairs as columns."""
    return tuple(Column(name, *(part.strip() for part in text.split(":", 1))) for name, text in declared.items())


INGESTED_FILES = Table(
    "ingested_files",
    "One row per input file: rows_read = rows_kept + rows_rejected + rows_duplicate",
    ("source_file",),
    _columns(
        source_file="string: name of the input file",
        content_hash="string: SHA-256 of the file's bytes; the same content is read once",
        rows_read="bigint: data rows in the file",
        rows_kept="bigint: rows that went to events or panel",
        rows_rejected="bigint: rows that went to events_rejected",
        rows_duplicate="bigint: exact repeats of a kept row, dropped",
        repeats="string: other files (one a line) that hold the kept rows of ids that this file has too",
        cleaned_by="string: hash of what decides how rows are cleaned (columns, rules, regions, code)",
        ingest_id="string: identifies the file's content and how it was cleaned",
    ),
)

EVENTS = Table(
    "events",
    "One row per cleaned event",
    ("event_id",),
    _columns(
        event_id="string: the source's id, or a hash of the whole row",
        event_time="timestamp: instant of the event (UTC)",
        date="date: local day of the region",
        region="string: region",
        event_type="string: view, cart, order, return and others",
        user_id="string: keyed hash of the user's id; null where unknown",
        order_id="string: order or invoice that the event belongs to",
        item="string: item or stock code",
        category="string: category of the item",
        quantity="double: pieces; negative for a return",
        price="double: price of a piece",
        amount="double: quantity x price; negative for a return",
        source_file="string: input file",
        ingest_id="string: the file's content and rules, see ingested_files",
        row_hash="bigint: hash of the row as it was read, by which an exact repeat is known",
    ),
    ("region", "date"),
    ("user_id",),
)

FORGOTTEN = Table(
    "forgotten",
    "One row per person who was erased",
    ("user_digest",),
    _columns(
        user_digest="string: SHA-256 of the hash that user_id was; rows of that person are rejected",
        forgotten_on="date: day of the erasure",
    ),
)

EVENTS_REJECTED = Table(
    "events_rejected",
    "One row per input row that was not used, and why",
    (),
    _columns(
        reason="string: reason code, or the name of the configured rule",
        column="string: our name of the column at fault; null where the whole row is",
        raw_text="string: the row as it was read (JSON of the source's columns)",
        source_file="string: input file",
        line="bigint: line in the file, where known",
        ingest_id="string: the file's content and rules, see ingested_files",
    ),
    (),
    ("raw_text",),
)

PANEL = Table(
    "panel",
    "One row per region and date of a source that is a panel already",
    ("region", "date"),
    _columns(
        region="string: region",
        date="date: day",
        target="double: the target as given; null = not known",
        source_file="string: input file",
        ingest_id="string: the file's content and rules, see ingested_files",
        row_hash="bigint: hash of the row as it was read, by which an exact repeat is known",
    ),
    ("region", "date"),
)

REGIONS = Table(
    "regions",
    "One row per region",
    ("region",),
    _columns(
        region="string: region",
        name="string: name for people",
        country="string: ISO 3166-1 code, for public holidays",
        subdivision="string: code of the state or province, for its public holidays",
        lat="double: latitude of the centre, degrees; null = no place",
        lng="double: longitude of the centre, degrees",
        timezone="string: IANA zone in which the region's days are counted",
        parent="string: the group that the region belongs to",
        position="int: place in the spatial (Hilbert) order, from 0",
    ),
)

REGION_EDGES = Table(
    "region_edges",
    "One row per directed neighbour pair; the weights of a region sum to 1",
    ("region", "neighbour"),
    _columns(
        region="string: the region that is influenced",
        neighbour="string: the region that influences it",
        distance_km="double: great-circle distance of the centres, km",
        hops="int: steps from the region to the neighbour over the edges",
        weight="double: row-standardised weight",
    ),
)

CALENDAR = Table(
    "calendar",
    "One row per region and date, past and coming: all that is known ahead",
    ("region", "date"),
    _columns(
        region="string: region",
        date="date: day",
        is_closed="boolean: known to be closed on that day",
        holiday="double: 1 on a public holiday, else 0 (known ahead)",
        holiday_name="string: name of the public holiday",
    ),
    ("region", "date"),
)

REGION_DAY = Table(
    "region_day",
    "One row per region and day, without gaps: the table that models learn from",
    ("region", "date"),
    _columns(
        region="string: region",
        date="date: local day of the region",
        target="double: what is forecast; null where closed or missing, 0 is a true zero",
        status="string: observed; closed; missing = not known; imputed = not known, target_clean holds a fill",
        target_clean="double: what models learn from: gaps filled, by choice outliers drawn in, from earlier days only",
        is_outlier="boolean: far from its weekday's usual value, judged by earlier days; not on holidays and events",
        orders="bigint: distinct orders of the day",
        users="bigint: distinct known users of the day, any event",
        views="bigint: events of type view",
        units="double: pieces sold net of returns",
        price="double: mean price of a piece ordered on the day",
        is_closed="boolean: known ahead to be closed",
        holiday="double: 1 on a public holiday, else 0 (known ahead)",
        holiday_name="string: name of the public holiday",
    ),
    ("region", "date"),
).with_columns(Column(f.name, "double", f.comment) for f in FEATURES)

DIAGNOSTICS = Table(
    "diagnostics",
    "One row per region (or * for the map of regions) and test, as of the last day analysed",
    ("region", "test"),
    _columns(
        region="string: region; * = all regions together",
        test="string: adf, kpss, acf, season_strength, change_points, demand_class, moran_levels and others",
        statistic="double: the test's statistic; null = not tested",
        p_value="double: p-value; null where the test has none",
        verdict="string: what it says, in words",
        as_of="date: last day that the tests saw",
    ),
)

BACKTEST_WINDOWS = Table(
    "backtest_windows",
    "One row per run, cutoff, region, date and model: what the model itself said, before it was calibrated",
    ("run_id", "cutoff", "region", "date", "model"),
    _columns(
        run_id="string: run",
        cutoff="date: last day of training data",
        region="string: region",
        date="date: forecast day",
        model="string: model",
        horizon="int: days after the cutoff, from 1",
        y_hat="double: point forecast",
        fallback_used="string: model that stood in for one that failed; null = none",
    ),
    ("run_id", "region", "date"),
)

BACKTESTS = Table(
    "backtests",
    "One row per run, cutoff, region, date and model: what would have been published, and what came",
    ("run_id", "cutoff", "region", "date", "model"),
    _columns(
        run_id="string: run",
        cutoff="date: last day of training data",
        region="string: region",
        date="date: forecast day",
        model="string: model; combination = weighted mean of the others",
        horizon="int: days after the cutoff, from 1",
        status="string: status of the day in region_day",
        y="double: actual target; null where closed or missing",
        y_hat="double: point forecast",
        fallback_used="string: model that stood in for one that failed; null = none",
        is_champion="boolean: the model that the windows before this one would have chosen",
        warm_up="boolean: true = the window only teaches later ones, metrics leave it out",
    ),
    ("run_id", "region", "date"),
)

MODELS = Table(
    "models",
    "One row per run, region (or * for all) and model",
    ("run_id", "region", "model"),
    _columns(
        run_id="string: run",
        region="string: region; * = one model for all",
        model="string: model",
        status="string: ok, failed, timeout or skipped",
        error="string: the exact error, where there was one",
        fallback_used="string: model that stands in for this one; null = none",
        fit_seconds="double: seconds spent on all fits and back-test forecasts of the pair",
        n_fits="int: fits in this run, back-test included",
        fit_kind="string: full; with warm starts also kept, aged or drifted (both fitted anew)",
        parameters="string: parameters of the last fit (JSON), readable",
        artefact="string: the fitted model: JSON for regional models, a checkpoint's path for global ones",
    ),
    ("run_id", "region"),
)

FORECASTS = Table(
    "forecasts",
    "One row per run, region, date and model",
    ("run_id", "region", "date", "model"),
    _columns(
        run_id="string: run",
        as_of="date: last day that the run knew",
        region="string: region",
        date="date: forecast day",
        model="string: model",
        horizon="int: days after as_of, from 1",
        y_hat="double: point forecast, in the target's unit",
        is_champion="boolean: the region's chosen model",
        fallback_used="string: model that stood in for one that failed; null = none",
    ),
    ("run_id", "region", "date"),
)

ATTRIBUTIONS = Table(
    "attributions",
    "One row per run, region, network, kind and source: what the network's forecast comes from",
    ("run_id", "region", "model", "kind", "source"),
    _columns(
        run_id="string: run",
        region="string: region that is forecast",
        model="string: global network",
        kind="string: region, lag, covariate, base: integrated gradients; share: of all parts' sizes; occlusion; "
        "weight, learned_weight: rows of W, where the network mixes by it, and of the learned adjacency",
        source="string: region, days before the as-of day, covariate; others = all but the region itself and the 29 or "
        "30 largest; of shares: own past, other regions, coming days (calendar, covariates), seasons",
        value="double: in spreads of the region, mean over the horizon (region + covariate + base sum to the "
        "distance from a forecast without news; lag splits the regions' part by day); occlusion: what the horizon's "
        "sum loses when that region's past is hidden, target's unit",
        completeness_error="double: how far the parts are from their sum, as a share of their sizes; null for others",
    ),
    ("run_id", "region"),
)

REGION_GROUPS = Table(
    "region_groups",
    "One row per run and region: what an autoencoder keeps of its last eight weeks, and the group of regions like it",
    ("run_id", "region"),
    _columns(
        run_id="string: run",
        region="string: region",
        group_number="int: group, counted from 1 by falling size",
        restored="double: share of all weeks' variance that the features keep",
        **{f"feature_{k}": "double: learned feature of the recent weeks; comparable within a run" for k in range(1, 7)},
    ),
    ("run_id", "region"),
)

_LEVELS = {
    "level": "string: region, parent (parent_2 … further up) or total",
    "node": "string: region, parent, or * for the total",
    "horizon": "int: days after the cutoff, from 1; 0 = the sum over the whole horizon",
}

FORECAST_LEVELS = Table(
    "forecast_levels",
    "One row per run, node of the hierarchy and day, and one for the whole horizon: forecasts that add up",
    ("run_id", "level", "node", "horizon"),
    _columns(
        run_id="string: run",
        as_of="date: last day that the run knew",
        **_LEVELS,
        date="date: forecast day; for the whole horizon its last day",
        parent="string: the node above; null for the total",
        method="string: how they were reconciled",
        y_base="double: the node's own forecast before, in the target's unit",
        y_hat="double: forecast that adds up, in the target's unit",
    ),
)

BACKTEST_LEVELS = Table(
    "backtest_levels",
    "One row per run, cutoff, node of the hierarchy, day (and whole horizon) and way of making sums",
    ("run_id", "cutoff", "level", "node", "horizon", "model"),
    _columns(
        run_id="string: run",
        cutoff="date: last day of training data; all that was learnt comes from earlier cutoffs",
        **_LEVELS,
        date="date: forecast day; for the whole horizon its last day",
        model="string: reconciled (what forecast_levels holds), base (the nodes' own forecasts), or a method's name",
        method="string: how the reconciled ones were made",
        y="double: actual sum; null where a region's day was missing",
        y_hat="double: point forecast",
    ),
)

EXPLANATIONS = Table(
    "explanations",
    "One row per run, region, day, member of the champion and component; the values sum to y_hat",
    ("run_id", "region", "date", "member", "component"),
    _columns(
        run_id="string: run",
        region="string: region",
        date="date: forecast day",
        model="string: the region's champion",
        member="string: the champion itself, or a model of the combination",
        weight="double: the member's weight in the combination; 1 = the champion itself",
        component="string: level (mean of the last season), trend, season, holiday, event, a covariate's name, "
        "closed, limit (no negative counts), borrowed (what other regions lend a new one), or covariates and "
        "neighbours together where the model cannot be asked",
        value="double: what it adds, in the target's unit, times the weight",
    ),
    ("run_id", "region", "date"),
)

MONITORING = Table(
    "monitoring",
    "One row per run, region (or parent, or all) and check: do the days that have come agree with their forecasts?",
    ("run_id", "level", "region", "check"),
    _columns(
        run_id="string: run",
        level="string: region, parent (the sum of its regions), or total",
        region="string: region or parent; * = all",
        check="string: bias, error, cusum, page_hinkley, coverage, missing, silence, input_drift; overall = all",
        statistic="double: what was measured; for overall the number of checks (total: regions) that stand out",
        threshold="double: the p-value below which a check stands out by itself; for overall the number that counts",
        p_value="double: probability of such a statistic where nothing has changed",
        n="int: days judged (total: regions)",
        verdict="string: ok, retrain, recalibrate, look at the data",
        reason="string: the verdict in words",
        first_date="date: first day judged",
        last_date="date: last day judged",
        basis="string: forecasts (made before their days came) or backtest (no forecast's day has come yet)",
    ),
)

METRICS = Table(
    "metrics",
    "One row per run, level, region, model, horizon and metric",
    ("run_id", "source", "level", "region", "model", "horizon", "metric"),
    _columns(
        run_id="string: run",
        source="string: backtest; raw = the same before calibration; actuals = forecasts whose days have come",
        level="string: region; all = region-days of all regions together; total, parent = of the regions' sums; "
        "weekday, day_type (event, ordinary), demand (smooth, erratic, intermittent, lumpy) = part of all region-days",
        region="string: region, parent, weekday, type of day or class of demand; * = level all, total = level total",
        model="string: model; champion = each region's chosen one",
        horizon="int: days after the cutoff; 0 = the whole horizon",
        metric="string: mae, rmse, mse, mape, smape, wape, accuracy (1 - wape), bias, mase, rmsse, pinball, sql, crps, "
        "and of each central interval coverage_80, width_80, winkler_80; defined in stspark/metrics/definitions.py; "
        "stood_in = share of the days whose forecast is another model's (fallback_used), since this one had none",
        value="double: the metric's value",
        n="bigint: region-days that it was computed from",
    ),
)

RUNS = Table(
    "runs",
    "One row per run",
    ("run_id",),
    _columns(
        run_id="string: run; the same config, data and as-of give the same id",
        as_of="date: last day that the run knew",
        config="string: the configuration in force (JSON)",
        config_hash="string: hash of the part of it that decides the numbers",
        code_version="string: version of stspark",
        data_version="string: hash of the contents of all input files",
        tables_read="string: table@Delta version, comma-separated",
        tables_written="string: table@Delta version, comma-separated",
        status="string: running, ok or failed",
        started="timestamp: start of the last job of the run (UTC)",
        finished="timestamp: when a job of the run last ended well (UTC); null if none has",
        seconds_ingest="double: wall seconds",
        seconds_features="double: wall seconds",
        seconds_train="double: wall seconds",
        seconds_forecast="double: wall seconds",
        seconds_reconcile="double: wall seconds",
        seconds_explain="double: wall seconds",
        seconds_evaluate="double: wall seconds",
        mlflow_run="string: id of the MLflow run",
        report="string: path of the report",
    ),
)


def for_settings(settings: Settings) -> dict[str, Table]:
    """All tables of a data set by name, with the columns that its configuration adds."""
    quantiles = [
        Column(c, "double", f"quantile {c[1:].replace('_', '.')}% of the forecast") for c in settings.quantile_columns
    ]
    future = [Column(c.name, "double", "covariate, known ahead") for c in settings.known_future]
    past = [Column(c.name, "double", "covariate, known up to its own day only") for c in settings.past_only]
    events = [Column(c, "double", text) for c, text in event_columns(settings.calendar).items()]
    ahead = [*events, *future]
    extended = {
        "panel": PANEL.with_columns([*future, *past]),
        "calendar": CALENDAR.with_columns(ahead),
        "region_day": REGION_DAY.with_columns([*ahead, *past]),
        "backtest_windows": BACKTEST_WINDOWS.with_columns(quantiles),
        "backtests": BACKTESTS.with_columns(quantiles),
        "forecasts": FORECASTS.with_columns(quantiles),
        "forecast_levels": FORECAST_LEVELS.with_columns(quantiles),
        "backtest_levels": BACKTEST_LEVELS.with_columns(quantiles),
    }
    plain = (
        INGESTED_FILES,
        FORGOTTEN,
        EVENTS,
        EVENTS_REJECTED,
        PANEL,
        REGIONS,
        REGION_EDGES,
        CALENDAR,
        REGION_DAY,
        DIAGNOSTICS,
        BACKTEST_WINDOWS,
        BACKTESTS,
        MODELS,
        FORECASTS,
        ATTRIBUTIONS,
        REGION_GROUPS,
        FORECAST_LEVELS,
        BACKTEST_LEVELS,
        EXPLANATIONS,
        MONITORING,
        METRICS,
        RUNS,
    )
    return {table.name: extended.get(table.name, table) for table in plain}
