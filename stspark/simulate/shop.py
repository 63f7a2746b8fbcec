"""The simulated shop: its cities, its span, and which city plays which part in the plot."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stspark.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

COUNTRY = "CN"
TIMEZONE = "Asia/Shanghai"
UTC_OFFSET_SECONDS = 8 * 3600  # China has kept one zone without summer time since 1991
PERSISTENCE = 0.45  # phi: what a city keeps of its own latent demand of yesterday

LATE_AT = 0.35  # fraction of the span at which the late city opens
REFIT_AT = 0.5  # at which the refit begins
MONDAYS_AT = 0.75  # from which one city closes on Mondays
DROP_AT = 0.8  # at which one macro region loses part of its market


class City(NamedTuple):
    """One region; `size` is relative demand, 1 for the smallest city and 5 for the largest."""

    region: str
    name: str
    lat: float
    lng: float
    parent: str
    size: float


# Approximate city centres. A shop of n regions takes the first n, so the order mixes macro regions.
CITIES = (
    City("shanghai", "Shanghai", 31.23, 121.47, "east", 5.0),
    City("beijing", "Beijing", 39.90, 116.41, "north", 4.8),
    City("guangzhou", "Guangzhou", 23.13, 113.26, "south", 4.2),
    City("hangzhou", "Hangzhou", 30.27, 120.16, "east", 3.2),
    City("chengdu", "Chengdu", 30.57, 104.07, "southwest", 3.6),
    City("wuhan", "Wuhan", 30.59, 114.31, "central", 3.0),
    City("shenyang", "Shenyang", 41.81, 123.43, "northeast", 2.0),
    City("xian", "Xi'an", 34.34, 108.94, "northwest", 2.6),
    City("nanjing", "Nanjing", 32.06, 118.80, "east", 2.8),
    City("shenzhen", "Shenzhen", 22.54, 114.06, "south", 4.0),
    City("tianjin", "Tianjin", 39.34, 117.36, "north", 2.8),
    City("chongqing", "Chongqing", 29.56, 106.55, "southwest", 3.4),
    City("suzhou", "Suzhou", 31.30, 120.59, "east", 2.4),
    City("zhengzhou", "Zhengzhou", 34.75, 113.63, "central", 2.3),
    City("qingdao", "Qingdao", 36.07, 120.38, "east", 2.0),
    City("changsha", "Changsha", 28.23, 112.94, "central", 2.2),
    City("jinan", "Jinan", 36.65, 117.12, "east", 1.8),
    City("dalian", "Dalian", 38.91, 121.61, "northeast", 1.5),
    City("harbin", "Harbin", 45.80, 126.53, "northeast", 1.5),
    City("kunming", "Kunming", 25.04, 102.71, "southwest", 1.6),
    City("shijiazhuang", "Shijiazhuang", 38.04, 114.51, "north", 1.4),
    City("nanning", "Nanning", 22.82, 108.37, "south", 1.3),
    City("taiyuan", "Taiyuan", 37.87, 112.55, "north", 1.2),
    City("lanzhou", "Lanzhou", 36.06, 103.83, "northwest", 1.0),
)


@dataclass(frozen=True)
class Shop:
    """What a simulation can be asked for; every date is a local day in Asia/Shanghai.

    `orders_per_day` is the mean level over regions; season, events and promotions raise it by about
    a tenth, so the default sells 22 orders a day and region.
    `horizon_days` is how far the known-future files reach beyond `end`. `spillover` is rho, the
    weight of the neighbours' latent demand of yesterday. Views and carts are a logged sample of the
    browsing, hence fewer than the orders: they keep two years of files small.
    """

    regions: int = 24
    start: date = date(2023, 9, 1)
    end: date = date(2025, 8, 31)
    orders_per_day: float = 20.0
    horizon_days: int = 28
    spillover: float = 0.35
    views_per_order: float = 0.4
    carts_per_order: float = 0.15
    dirty_share: float = 0.005
    users: int = 20_000
    items: int = 300

    def __post_init__(self) -> None:
        """Refuse a shop that the plot does not fit into.

        Raises:
            ConfigError: names the field, its value and what to write instead.
        """
        rules = (
            ("regions", 4 <= self.regions <= len(CITIES), f"use 4 to {len(CITIES)}"),
            ("end", self.span >= 60, "use at least 60 days from start to end"),
            ("start", self.start.year >= 2009, "use 2009 or later"),
            ("horizon_days", self.horizon_days >= 0, "use 0 or more days"),
            ("end", (self.end + timedelta(self.horizon_days)).year <= 2030, "end before 2031"),
            ("orders_per_day", self.orders_per_day >= 1, "use 1 or more"),
            (
                "spillover",
                0 <= self.spillover < 1 - PERSISTENCE,
                f"use 0 to less than {1 - PERSISTENCE}, or demand explodes",
            ),
            ("views_per_order", self.views_per_order >= 0, "use 0 or more"),
            ("carts_per_order", self.carts_per_order >= 0, "use 0 or more"),
            ("dirty_share", 0 <= self.dirty_share <= 0.2, "use 0 (none) to 0.2"),
            ("users", self.users >= 10 * self.regions, "use at least 10 per region"),
            ("items", self.items >= 8, "use at least one per category, 8"),
        )
        for field, holds, fix in rules:
            if not holds:
                raise ConfigError(f"simulate.{field}", f"is {getattr(self, field)}", fix)

    @property
    def span(self) -> int:
        """Days from start to end, both included."""
        return (self.end - self.start).days + 1

    @property
    def cities(self) -> tuple[City, ...]:
        """The regions, in the order of regions.csv."""
        return CITIES[: self.regions]

    @property
    def days(self) -> npt.NDArray[np.datetime64]:
        """Local days from start to end + horizon_days, as datetime64[D]."""
        return np.datetime64(self.start, "D") + np.arange(self.span + self.horizon_days)

    def day(self, index: int) -> date:
        """Return the local day at `index`, counted from start."""
        return self.start + timedelta(index)

    def as_json(self) -> dict[str, str | int | float]:
        """Return the fields, with dates as ISO text."""
        return {key: value.isoformat() if isinstance(value, date) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Plot:
    """Which cities meet which fate; days are indices from the shop's start.

    Every position is a fraction of the span, so a short shop has the same story: the refit takes
    3 % of the span, 2 days at least and 10 at most. The macro region that drops is the largest one;
    the late and the refitted city lie outside it.
    """

    drop_parent: str
    drop_day: int
    late_region: int
    late_day: int
    refit_region: int
    refit_days: range
    monday_region: int
    monday_day: int


def plot_of(shop: Shop) -> Plot:
    """Cast the shop's cities, without any chance."""
    parents = [city.parent for city in shop.cities]
    dropped = Counter(parents).most_common(1)[0][0]
    others = [index for index, parent in enumerate(parents) if parent != dropped]
    refit, late = others[0], others[-1]
    monday = max(index for index in range(shop.regions) if index not in (refit, late))
    refit_start = round(REFIT_AT * shop.span)
    refit_length = min(10, max(2, round(0.03 * shop.span)))
    return Plot(
        drop_parent=dropped,
        drop_day=round(DROP_AT * shop.span),
        late_region=late,
        late_day=round(LATE_AT * shop.span),
        refit_region=refit,
        refit_days=range(refit_start, refit_start + refit_length),
        monday_region=monday,
        monday_day=round(MONDAYS_AT * shop.span),
    )
