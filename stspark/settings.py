"""A data set's configuration: one YAML file, typed, frozen, checked before Spark starts."""

from __future__ import annotations

import hashlib
import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stspark import names
from stspark.encodings import shared_name
from stspark.steps import step_of


class Section(BaseModel):
    """A part of the config file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(Section):
    """A row is kept where `keep` (a SQL condition over our column names) is true."""

    name: str
    column: str
    keep: str


class Lookup(Section):
    """A further file joined to the source's rows on `key`; rows of the source are neither lost nor multiplied."""

    path: str
    key: str
    """Key column of the lookup's file."""
    on: str | None = None
    """Key column on the source's side, where it is named otherwise."""
    columns: tuple[str, ...]
    many: Literal["error", "median"] = "error"
    """What to do with a key of several rows: refuse the file, or take the median of its columns, which are numbers."""


class Source(Section):
    """Where raw rows lie and what their columns mean."""

    kind: Literal["events", "panel"]
    path: str
    pattern: str = "*"
    published: str = ""
    """Where the data set can be had, for the error when it is not there."""
    format: Literal["auto", "csv", "jsonl", "parquet", "delta"] = "auto"
    """By default what a file's name says: .jsonl, .parquet, a Delta folder, else CSV; each also gzip'd (.gz)."""
    encoding: str = "utf-8"
    separator: str = ","
    layout: Literal["long", "wide"] = "long"
    """wide: a panel with a column per region; `columns` then names the column of the time, or `start` and `step`."""
    start: datetime | None = None
    """Time of a wide panel's first line, where it has no column of the time."""
    step: str = "1 day"
    """Time between its lines."""
    timezone: str = "UTC"
    """Zone of times that carry no offset of their own."""
    columns: dict[str, str] = Field(default={}, validate_default=True)
    """Our name: their column, or `sql: …` for an expression over their columns."""
    lookups: tuple[Lookup, ...] = ()
    rules: tuple[Rule, ...] = ()
    max_rejected_share: float = Field(default=0.2, ge=0, le=1)

    @field_validator("encoding")
    @classmethod
    def _readable(cls, encoding: str) -> str:
        return shared_name(encoding)

    @field_validator("layout")
    @classmethod
    def _wide_panels(cls, layout: str, info: Any) -> str:
        if layout == "wide" and info.data.get("kind") != "panel":
            raise ValueError("is for a source of kind panel; a source of events has a row per event")
        return layout

    @field_validator("step")
    @classmethod
    def _whole_days(cls, step: str) -> str:
        if step_of(step) % timedelta(days=1):
            raise ValueError(f"'{step}' is not a whole number of days, the panel's frequency")
        return step

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str], info: Any) -> dict[str, str]:
        kind = info.data.get("kind")
        if info.data.get("layout") == "wide":  # the melted rows have these names
            columns = {
                "region": "region",
                "target": "target",
                **({"date": "date"} if info.data["start"] else {}),
            } | columns
        needed = {"events": {"event_time", "region"}, "panel": {"date", "region", "target"}}.get(kind, set())
        if missing := sorted(needed - set(columns)):
            raise ValueError(f"has no entry for {', '.join(missing)}; a source of kind {kind} needs it")
        if kind == "events" and (unknown := sorted(set(columns) - set(names.EVENT_INPUTS))):
            raise ValueError(f"has unknown entry '{unknown[0]}'; known are {', '.join(names.EVENT_INPUTS)}")
        return columns


class Weights(Section):
    """Which regions are neighbours, and how much each counts; weights of a region sum to 1."""

    kind: Literal["nearest", "band", "queen", "file", "correlation"] = "nearest"
    km: float | None = Field(default=None, gt=0)
    """Of a distance band."""
    file: str | None = None
    """GeoJSON of polygons for `queen`; CSV of region, neighbour and weight for `file`."""
    key: str = "region"
    """Property of a polygon that names its region."""
    hops: int = Field(default=1, ge=1)
    """Neighbours' neighbours up to this many steps count too, by one over the steps."""
    islands: Literal["none", "nearest"] = "none"
    """A region without neighbours stays alone, or is tied to the nearest."""

    @model_validator(mode="after")
    def _complete(self) -> Weights:
        needed = {"band": "km", "queen": "file", "file": "file"}.get(self.kind)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"kind '{self.kind}' needs the key '{needed}'")
        return self


class Cells(Section):
    """Regions made from latitude and longitude: `resolution` of H3 hexagons, or the side of squares in km."""

    shape: Literal["hexagon", "square"]
    resolution: int = Field(default=4, ge=0, le=15)
    km: float = Field(default=50.0, gt=0)


class Regions(Section):
    """Places. Without a file the regions are those of the data, without neighbours."""

    cells: Cells | None = None
    """Make the regions from the rows' `lat` and `lng`, which source.columns then names instead of `region`."""

    file: str | None = None
    columns: dict[str, str] = {}
    """Our name: their column, where the file names it otherwise."""
    only: tuple[str, ...] | None = None
    """Use these regions of the file; by default all that have data."""
    unplaced: tuple[str, ...] = ()
    """Regions that are known to have no place and no row in the file."""
    opening: tuple[str, ...] = ()
    """Regions of the file that have no data yet: the model `borrowed` forecasts their first days."""
    unknown: Literal["error", "reject"] = "error"
    """What to do with a region that neither the file nor `unplaced` knows."""
    timezone: str | None = None
    """One zone for every region's day, instead of the file's."""
    country: str | None = None
    """Country of regions for which the file names none."""
    neighbours: int = Field(default=4, ge=1)
    weights: Weights = Weights()


class Target(Section):
    """What is forecast, made from events or taken from the panel."""

    name: str
    measure: Literal["amount", "units", "orders", "users", "events"] = "amount"
    event_types: tuple[str, ...] = ("order", "return")
    non_negative: bool = True


class Time(Section):
    """Frequency and periods; season and horizon count days. The panel spans start to end, where given."""

    frequency: Literal["D"] = "D"
    horizon: int = Field(default=7, ge=1)
    season: int = Field(default=7, ge=1)
    start: date | None = None
    end: date | None = None
    """Last complete day of the data."""


class Lunar(Section):
    """A festival of the Chinese lunar calendar, a column like a shopping event's."""

    festival: Literal["spring_festival", "dragon_boat", "mid_autumn", "double_ninth"]
    days_before: int = Field(default=0, ge=0)
    days_after: int = Field(default=0, ge=0)
    countries: tuple[str, ...] = ()
    """Where it matters; none = everywhere."""


class Calendar(Section):
    """Days that are known ahead for everybody."""

    holidays: bool = True
    shopping_events: str | None = None
    """File of event, date, days_before, days_after, countries."""
    events: tuple[str, ...] | None = None
    """Which of its events matter here; by default all of them."""
    lunar: tuple[Lunar, ...] = ()
    """Lunar festivals, whose days are computed."""


class Covariate(Section):
    """A column beside the target. Known-future ones may come from a file of region, date and the column."""

    name: str
    known: Literal["future", "past"]
    column: str | None = None
    """Its column in the source or file, where that is named otherwise."""
    file: str | None = None
    fill: float | None = 0.0
    """Value of a region and day for which none is given; null: that is an error."""


class Closed(Section):
    """Days on which there is no business; known ahead, except those found in the data."""

    weekdays: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    dates: tuple[date, ...] = ()
    file: str | None = None
    """region, date; an empty region means all."""
    days_without_events: bool = False
    """True: a day on which no region has any event was closed."""
    learned_weekdays: bool = False
    """True: of a panel, a weekday that had no row for four weeks is closed, not missing."""


class Outliers(Section):
    """Observed values far from their weekday's usual one; holidays and shopping events are none."""

    method: Literal["hampel", "none"] = "hampel"
    threshold: float = Field(default=5.0, gt=0)
    """Robust standard deviations from the median beyond which a value is flagged."""
    clean: bool = False
    """True: draw a flagged value in to the threshold, in target_clean only."""


class Panel(Section):
    """How target_clean is made from the target, which is never overwritten."""

    fill: Literal["season", "kalman", "none"] = "season"
    """Of days without a target: the weekday's last value, a structural model's expectation, or nothing."""
    outliers: Outliers = Outliers()
    noise_filter: bool = False
    """True: target_clean of an observed day is its filtered level and season."""


class Backtest(Section):
    """Rolling origin: `windows` cutoffs, `step` days apart, the last one a horizon before the as-of day."""

    windows: int = Field(default=4, ge=1)
    step: int = Field(default=7, ge=1)
    warm_up: int = Field(default=4, ge=0)
    """Further windows before those: weights, choice and calibration learn from them, they are not judged."""
    first: date | None = None
    """First judged cutoff; then as many windows as there are from it to the last possible one."""
    gap: int = Field(default=0, ge=0)
    """Days between a cutoff and the first day that is judged; published forecasts begin the day after as-of."""
    history: int | None = Field(default=None, ge=28)
    """Days before a cutoff that a fit sees; by default all."""
    refit: int | None = Field(default=None, ge=1)
    """Windows after which models that keep their parameters are fitted again; by default never."""
    scheme: Literal["rolling", "blocked"] = "rolling"
    """blocked: cross-validation, fits see later days too; only for jobs/backtest.py."""


class Ensemble(Section):
    """How one forecast is made of many: stspark/ensemble."""

    combination: Literal["stacked", "inverse", "equal", "none"] = "stacked"
    calibration: Literal["adaptive", "split", "none"] = "adaptive"
    metric: Literal["wape", "mase", "rmse", "pinball"] = "wape"
    """By which the champion is chosen."""
    guard: float = Field(default=2.0, ge=0)
    """Standard errors by which a region's own best model must win against the default one: it is the best of many."""
    fewest_windows: int = Field(default=4, ge=1)
    """Windows that a region needs before its own errors choose its champion."""


class Model(BaseModel):
    """A model's name and its own options (checked by the model)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    @property
    def folder(self) -> str:
        """The name as a folder may be called: a user's own has colons."""
        return self.name.replace(":", ".")


class Fleet(Section):
    """How per-region models are spread and bounded."""

    packs: int | None = Field(default=None, ge=1)
    """Number of tasks; by default four a slot."""
    fit_seconds: int = Field(default=60, ge=1)
    fit_megabytes: int = Field(default=2048, ge=64)
    isolation: Literal["process", "none"] = "process"
    """process: fits run in a child of the worker, which can be killed; none: in the worker itself."""
    race_margin: float = Field(default=0, ge=0)
    """Stop models that are refitted where their error exceeds this multiple of the best one's; 0 = never."""
    warm_days: int = Field(default=0, ge=0)
    """Keep parameters of an earlier run that are at most so old; 0 = fit everything in every run."""
    warm_drift: float = Field(default=1.5, gt=0)
    """Fit anew where kept parameters err by more than this factor of what their fit did."""


class Training(Section):
    """How global models are trained; their further options stand in their entries of `models`."""

    gpu: Literal["auto", "always", "never"] = "auto"
    processes: int = Field(default=2, ge=1)
    fit_seconds: int = Field(default=600, ge=1)
    """Limit of one fit and forecast of a panel model."""


class Hierarchy(Section):
    """How forecasts of regions, their parents and the total are made to add up."""

    method: Literal[
        "auto",
        "bottom_up",
        "top_down_history",
        "top_down_forecast",
        "ols",
        "wls_struct",
        "wls_var",
        "mint_shrink",
        "off",
    ] = "auto"
    """auto: bottom_up, unless wls_var or mint_shrink was clearly better over all levels in earlier windows."""
    parents: dict[str, str] = {}
    """Parent of a region or of a parent, beside those of the regions' file."""
    models: tuple[str, ...] = (names.NAIVE, "auto_ets")
    """Regional models that forecast the nodes above the regions."""
    draws: int = Field(default=1000, ge=100)
    """Joint sample paths behind the quantiles of sums."""

    @field_validator("method", mode="before")
    @classmethod
    def _off(cls, method: Any) -> Any:
        return "off" if method is False else method  # YAML 1.1 reads the word off as false

    @field_validator("models")
    @classmethod
    def _with_naive(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        return models if names.NAIVE in models else (names.NAIVE, *models)


class Watch(Section):
    """How forecasts are watched once their days have come."""

    days: int = Field(default=14, ge=1)
    """Most recent days that are judged."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance of any false alarm among the groups of regions in a run."""
    retrain: Literal["always", "auto"] = "always"
    """auto: the pipeline trains anew only where the watch asks for it; else it scores the models of the last run."""
    max_age: int = Field(default=28, ge=1)
    """Days after which `auto` trains all the same."""


class Settings(Section):
    """The whole config file."""

    dataset: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = ""
    seed: int = 1
    simulate: dict[str, Any] | bool = False
    """True or the shop's own options: write a simulated shop's files first."""
    source: Source
    regions: Regions = Regions()
    target: Target
    time: Time = Time()
    calendar: Calendar = Calendar()
    covariates: tuple[Covariate, ...] = ()
    closed: Closed = Closed()
    panel: Panel = Panel()
    backtest: Backtest = Backtest()
    ensemble: Ensemble = Ensemble()
    quantiles: tuple[float, ...] = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
    models: tuple[Model, ...] = Field(min_length=1)
    fleet: Fleet = Fleet()
    training: Training = Training()
    pretrain: dict[str, Any] = {}
    """Options of jobs/pretrain.py (stspark.models.deep.pretraining.PretrainConfig)."""
    hierarchy: Hierarchy = Hierarchy()
    watch: Watch = Watch()
    explain: bool = False
    """True: the pipeline also says what every champion's forecast is made of."""
    warehouse: str = "warehouse"
    reports: str = "reports"
    tracking_uri: str | None = None
    """MLflow's tracking URI; by default an SQLite file in the warehouse."""

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if list(quantiles) != sorted(set(quantiles)) or not all(0 < q < 1 for q in quantiles):
            raise ValueError("must rise strictly within (0, 1)")
        return quantiles

    @field_validator("models")
    @classmethod
    def _with_naive(cls, models: tuple[Model, ...]) -> tuple[Model, ...]:
        repeated = sorted({m.name for m in models if [n.name for n in models].count(m.name) > 1})
        if repeated:
            raise ValueError(f"names '{repeated[0]}' twice; give each model once")
        if names.NAIVE not in {m.name for m in models}:
            raise ValueError(f"lacks '{names.NAIVE}', which every comparison needs; add it")
        return models

    @model_validator(mode="before")
    @classmethod
    def _cells_as_regions(cls, raw: Any) -> Any:
        """With cells, `region` is an expression over the columns named `lat` and `lng`."""
        cells = (raw.get("regions") or {}).get("cells") if isinstance(raw, dict) else None
        columns = (raw.get("source") or {}).get("columns") if isinstance(raw, dict) else None
        if not (isinstance(cells, dict) and isinstance(columns, dict)) or "region" in columns:
            return raw
        if missing := [c for c in ("lat", "lng") if c not in columns]:
            raise ValueError(f"source.columns has no '{missing[0]}', which regions.cells needs")
        lat, lng = (names.expression(str(columns[c])) for c in ("lat", "lng"))
        made = Cells.model_validate(cells)
        size = made.resolution if made.shape == "hexagon" else made.km
        rest = {k: v for k, v in columns.items() if k not in ("lat", "lng")}
        region = f"sql:{made.shape}_cell({lat}, {lng}, {size})"
        return raw | {"source": raw["source"] | {"columns": rest | {"region": region}}}

    @model_validator(mode="after")
    def _files_of_covariates(self) -> Settings:
        if twice := sorted({c.name for c in self.covariates if [d.name for d in self.covariates].count(c.name) > 1}):
            raise ValueError(f"covariates: '{twice[0]}' is there twice; keep one of them")
        for covariate in self.covariates:
            if self.source.kind == "events" and covariate.file is None:
                raise ValueError(
                    f"covariates: '{covariate.name}' has no file; with a source of events a covariate comes from one"
                )
            if covariate.name in names.RESERVED:
                raise ValueError(f"covariates: '{covariate.name}' is a column of region_day already; name it otherwise")
        return self

    @model_validator(mode="after")
    def _global_models_roll(self) -> Settings:
        unusual = {"gap": self.backtest.gap, "history": self.backtest.history, "scheme": self.backtest.scheme}
        asked = [key for key, value in unusual.items() if value not in (0, None, "rolling")]
        if asked and self.global_models:
            raise ValueError(
                f"backtest.{asked[0]}: the global model '{self.global_models[0].name}' knows only a rolling origin "
                "with all the history and no gap; leave the key or the model out"
            )
        return self

    @model_validator(mode="after")
    def _opening_is_forecast(self) -> Settings:
        own = [m.name for m in self.models if m.name.startswith(names.PANEL_PREFIX)]
        if self.regions.opening and not own and names.BORROWED not in {m.name for m in self.models}:
            raise ValueError(
                f"regions.opening: '{self.regions.opening[0]}' has no history, and no model is for that; "
                f"add {{name: {names.BORROWED}}} to models"
            )
        return self

    @property
    def home(self) -> str:
        """Folder of this data set's tables."""
        return f"{self.warehouse}/{self.dataset}"

    @property
    def quantile_columns(self) -> tuple[str, ...]:
        return tuple(names.quantile_column(q) for q in self.quantiles)

    @property
    def known_future(self) -> tuple[Covariate, ...]:
        return tuple(c for c in self.covariates if c.known == "future")

    @property
    def past_only(self) -> tuple[Covariate, ...]:
        return tuple(c for c in self.covariates if c.known == "past")

    @property
    def regional_models(self) -> tuple[Model, ...]:
        return tuple(m for m in self.models if not names.is_global(m.name))

    @property
    def global_models(self) -> tuple[Model, ...]:
        return tuple(m for m in self.models if names.is_global(m.name))

    @property
    def networks(self) -> tuple[Model, ...]:
        return tuple(m for m in self.models if m.name in names.NETWORKS)

    @property
    def pretrained(self) -> tuple[Path, ...]:
        """Checkpoints that networks begin from."""
        return tuple(Path(m.options["pretrained"]) for m in self.networks if m.options.get("pretrained"))

    @property
    def panel_models(self) -> tuple[Model, ...]:
        return tuple(m for m in self.global_models if m.name not in names.NETWORKS)

    def fingerprint(self) -> str:
        """Hash of what decides the numbers (not of where they are written)."""
        where = {"warehouse", "reports", "tracking_uri", "title", "fleet", "pretrain", "watch", "explain"}
        decides = self.model_dump(mode="json", exclude=where)
        decides["fleet"] = self.fleet.model_dump(include={"race_margin", "warm_days", "warm_drift"})
        text = json.dumps(decides, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def input_files(self) -> dict[str, Path]:
        """Single files that the config names, by key."""
        named = {
            "regions.file": self.regions.file,
            "regions.weights.file": self.regions.weights.file,
            "calendar.shopping_events": self.calendar.shopping_events,
            "closed.file": self.closed.file,
            **{f"covariates.{c.name}.file": c.file for c in self.covariates},
            **{f"source.lookups.{k}.path": lookup.path for k, lookup in enumerate(self.source.lookups)},
        }
        return {key: Path(value) for key, value in named.items() if value is not None}
