"""Expected demand by region and day: the truth from which events are drawn.

Shapes: R regions, T days from the shop's start to its end + horizon. The model is multiplicative::

    gross units = level * trend * week * year * holiday * event * promotion * spillover * drop

and zero where closed. `spillover` is exp(u), with u a first-order spatial vector autoregression
(Pfeifer and Deutsch 1980, STARIMA), u_t = phi u_{t-1} + rho W u_{t-1} + e_t, where W holds the
row-standardised weights of the nearest neighbours; the spectral radius is phi + rho, which Shop
keeps below 1. Net units are gross units less the returns of earlier orders, see `expected_returns`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stspark.simulate import occasions
from stspark.simulate.shop import (
    PERSISTENCE,
    BoolArray,
    FloatArray,
    IntArray,
    Plot,
    Shop,
    plot_of,
)

COMPONENTS = (
    "level", "trend", "week", "year", "holiday", "event", "promotion", "spillover", "drop",
)  # fmt: skip

WEEKDAY_LOG = np.array([-0.12, -0.10, -0.07, -0.04, 0.04, 0.17, 0.12])  # Monday to Sunday, sum 0
YEAR_HARMONICS = ((-0.06, 0.12), (0.05, -0.03))  # (sine, cosine) of one and two cycles a year
TREND_PER_YEAR = (0.10, 0.06)  # mean and spread over regions of the log growth
PROMOTION_ELASTICITY = 1.6  # log lift per unit of discount share
PROMOTION_SHARES = (0.1, 0.15, 0.2, 0.25, 0.3)
DROP_FACTOR = 0.65
LATENT_STD = 0.12
NEIGHBOURS = 4

EXTRA_LINE_SHARE = 0.15  # orders with a second line
QUANTITY_SHARES = (0.64, 0.24, 0.09, 0.02, 0.01)  # of quantity 1, 2, ... in a line
RETURN_SHARE = 0.03  # of orders, returned whole
RETURN_LAGS = range(3, 15)  # days after the order, all equally likely
UNITS_PER_ORDER = (1 + EXTRA_LINE_SHARE) * sum(
    quantity * share for quantity, share in enumerate(QUANTITY_SHARES, start=1)
)

EARTH_RADIUS_KM = 6371.0088


@dataclass(frozen=True)
class Demand:
    """The planted truth; every array is [R, T], `neighbours` is [R, k] and `slopes` is [R]."""

    shop: Shop
    plot: Plot
    components: dict[str, FloatArray]
    discount: FloatArray  # share off the price, 0 to 0.3
    closed: BoolArray  # shut on a day on which it exists
    opened: BoolArray  # False before the late city's first day
    neighbours: IntArray
    slopes: FloatArray  # log growth per year
    shock_std: float

    @property
    def gross_units(self) -> FloatArray:
        """Expected units ordered, [R, T]."""
        product = np.prod([self.components[name] for name in COMPONENTS], axis=0)
        return np.where(self.sells, product, 0.0)

    @property
    def orders(self) -> FloatArray:
        """Expected orders, [R, T]."""
        return self.gross_units / UNITS_PER_ORDER

    @property
    def sells(self) -> BoolArray:
        """True on days with any events, [R, T]."""
        return self.opened & ~self.closed


def plan(shop: Shop, seed: int) -> Demand:
    """Draw the whole truth for a shop; the same seed gives the same truth."""
    rng = np.random.default_rng([seed, 1])
    days, plot = shop.days, plot_of(shop)
    shape = (shop.regions, len(days))
    years = (days - days[0]).astype(float) / 365.25
    slopes = rng.normal(*TREND_PER_YEAR, size=shop.regions)
    sizes = np.array([city.size for city in shop.cities])
    opened, closed = _opened(plot, shape), _closed(shop, plot)
    discount = np.where(opened & ~closed, _discounts(shape, rng), 0.0)
    neighbours = nearest_neighbours(shop)
    latent, shock_std = _latent(weights(neighbours), shop.spillover, len(days), rng)
    logs = {
        "level": np.log(UNITS_PER_ORDER * shop.orders_per_day * sizes / sizes.mean())[:, None],
        "trend": slopes[:, None] * (years - years[shop.span // 2]),
        "week": WEEKDAY_LOG[_weekday(shop)],
        "year": _year_log(shop),
        "holiday": occasions.holiday_log_lift(days),
        "event": occasions.event_log_lift(days),
        "promotion": PROMOTION_ELASTICITY * discount,
        "spillover": latent,
        "drop": _drop_log(shop, plot),
    }
    components = {name: np.broadcast_to(np.exp(value), shape) for name, value in logs.items()}
    return Demand(shop, plot, components, discount, closed, opened, neighbours, slopes, shock_std)


def expected_returns(demand: Demand) -> FloatArray:
    """Return the units expected back on each day, [R, T].

    RETURN_SHARE of the orders come back, evenly over RETURN_LAGS. A return due on a closed day
    comes on the next open one.
    """
    gross, landing = demand.gross_units, next_open_day(demand)
    regions, days = gross.shape
    due = np.zeros((regions, days + 1))
    for lag in RETURN_LAGS:
        np.add.at(due, (np.arange(regions)[:, None], landing[:, lag:]), gross[:, :-lag])
    return due[:, :days] * RETURN_SHARE / len(RETURN_LAGS)


def next_open_day(demand: Demand) -> IntArray:
    """Index of the first day at or after each day on which the region sells, T if none, [R, T]."""
    days = demand.sells.shape[1]
    own = np.where(demand.sells, np.arange(days), days)
    ahead: IntArray = np.minimum.accumulate(own[:, ::-1], axis=1)[:, ::-1]
    return ahead


def nearest_neighbours(shop: Shop) -> IntArray:
    """Indices of the nearest cities by great-circle distance (haversine), [R, k], nearest first."""
    lat, lng = np.radians([(city.lat, city.lng) for city in shop.cities]).T
    half = (
        np.sin((lat[:, None] - lat) / 2) ** 2
        + np.cos(lat[:, None]) * np.cos(lat) * np.sin((lng[:, None] - lng) / 2) ** 2
    )
    distance_km = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half))
    np.fill_diagonal(distance_km, np.inf)
    nearest = np.argsort(distance_km, axis=1, kind="stable")
    return nearest[:, : min(NEIGHBOURS, shop.regions - 1)].astype(np.int64)


def weights(neighbours: IntArray) -> FloatArray:
    """Row-standardised weight matrix of a neighbour list, [R, R]."""
    matrix = np.zeros((len(neighbours), len(neighbours)))
    np.put_along_axis(matrix, neighbours, 1.0 / neighbours.shape[1], axis=1)
    return matrix


def _latent(w: FloatArray, rho: float, days: int, rng: np.random.Generator) -> tuple[FloatArray, float]:
    """Simulate u, [R, days], from its stationary regime; return it and the shocks' deviation.

    The shocks are scaled so that the mean over regions of u's variance is LATENT_STD squared.
    """
    step = PERSISTENCE * np.eye(len(w)) + rho * w
    covariance, term = np.eye(len(w)), np.eye(len(w))
    for _ in range(200):
        term = step @ term @ step.T
        covariance += term
    shock_std = float(LATENT_STD / np.sqrt(np.trace(covariance) / len(w)))
    burn_in = 200
    shocks = rng.normal(0.0, shock_std, size=(burn_in + days, len(w)))
    latent = np.zeros_like(shocks)
    for day in range(1, len(shocks)):
        latent[day] = step @ latent[day - 1] + shocks[day]
    return latent[burn_in:].T, shock_std


def _discounts(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Campaigns of 3 to 7 days with gaps of 15 to 35 days, each region on its own plan, [R, T]."""
    share = np.zeros(shape)
    for region in range(shape[0]):
        day = int(rng.integers(0, 20))
        while day < shape[1]:
            length = int(rng.integers(3, 8))
            share[region, day : day + length] = rng.choice(PROMOTION_SHARES)
            day += length + int(rng.integers(15, 36))
    return share


def _weekday(shop: Shop) -> IntArray:
    """0 for Monday to 6 for Sunday, [T]."""
    return (shop.start.weekday() + np.arange(len(shop.days))) % 7


def _year_log(shop: Shop) -> FloatArray:
    day_of_year = (shop.days - shop.days.astype("datetime64[Y]")).astype(float)
    angle = 2 * np.pi * day_of_year / 365.25
    log = np.zeros(len(angle))
    for cycles, (sine, cosine) in enumerate(YEAR_HARMONICS, start=1):
        log += sine * np.sin(cycles * angle) + cosine * np.cos(cycles * angle)
    return log


def _drop_log(shop: Shop, plot: Plot) -> FloatArray:
    hit = np.array([city.parent == plot.drop_parent for city in shop.cities])
    after = np.arange(len(shop.days)) >= plot.drop_day
    return np.where(hit[:, None] & after, np.log(DROP_FACTOR), 0.0)


def _opened(plot: Plot, shape: tuple[int, int]) -> BoolArray:
    opened = np.ones(shape, dtype=np.bool_)
    opened[plot.late_region, : plot.late_day] = False
    return opened


def _closed(shop: Shop, plot: Plot) -> BoolArray:
    """Spring Festival everywhere, one refit, and one city's Mondays late in the span, [R, T]."""
    closed = np.tile(occasions.spring_festival_closed(shop.days), (shop.regions, 1))
    closed[plot.refit_region, plot.refit_days.start : plot.refit_days.stop] = True
    mondays = _weekday(shop) == 0
    closed[plot.monday_region] |= mondays & (np.arange(len(mondays)) >= plot.monday_day)
    return closed & _opened(plot, closed.shape)
