"""Draw events from the planted demand: orders and their lines, views, carts and returns.

Every array here is one event or one order long; days are indices from the shop's start.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from stspark.simulate import demand as truth
from stspark.simulate.demand import Demand
from stspark.simulate.shop import UTC_OFFSET_SECONDS, FloatArray, IntArray, Shop

EVENT_TYPES = ("view", "cart", "order", "return")
VIEW, CART, ORDER, RETURN = range(4)
NOTHING = -1  # no order id, no quantity: an empty field

DAY_SECONDS = 86_400
# Relative traffic by local hour: quiet nights, a lunch break, a long evening.
HOUR_WEIGHTS = (
    0.6, 0.3, 0.2, 0.15, 0.15, 0.3, 0.7, 1.2, 2.0, 3.0, 3.8, 4.0,
    4.2, 3.6, 3.4, 3.4, 3.6, 3.8, 4.2, 5.0, 6.0, 6.2, 4.5, 2.0,
)  # fmt: skip


@dataclass(frozen=True)
class Events:
    """Columns of equal length; `second` is seconds after local midnight, `cents` the unit price."""

    day: IntArray
    second: IntArray
    kind: IntArray  # index into EVENT_TYPES
    region: IntArray
    user: IntArray
    order: IntArray
    item: IntArray
    quantity: IntArray
    cents: IntArray

    def take(self, rows: IntArray) -> Events:
        """Return the rows at these positions."""
        return Events(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.day)

    def utc_seconds(self, shop: Shop) -> IntArray:
        """Seconds since 1970 in UTC, [event]."""
        midnight = int(np.datetime64(shop.start, "s").astype(int)) - UTC_OFFSET_SECONDS
        return midnight + self.day * DAY_SECONDS + self.second


def draw_events(demand: Demand, list_price: IntArray, seed: int) -> Events:
    """Draw all events of the local days start..end, in order of time.

    `list_price` is the price of each item in cents before promotions, [item].
    """
    rng = np.random.default_rng([seed, 2])
    shop = demand.shop
    bought = _order_lines(demand, list_price, rng)
    parts = [
        bought,
        _browsing(demand, list_price, (VIEW, shop.views_per_order), rng),
        _browsing(demand, list_price, (CART, shop.carts_per_order), rng),
        _returns(demand, bought, rng),
    ]
    together = _concatenate(parts)
    moment = together.day * DAY_SECONDS + together.second
    return together.take(np.argsort(moment, kind="stable"))


def _concatenate(parts: list[Events]) -> Events:
    return Events(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events)))


def _order_lines(demand: Demand, list_price: IntArray, rng: np.random.Generator) -> Events:
    """Poisson orders, each of one line or two; orders are numbered in order of time."""
    orders = _visits(demand, demand.orders, ORDER, rng)
    lines = 1 + (rng.random(len(orders)) < truth.EXTRA_LINE_SHARE)
    bought = orders.take(np.repeat(np.arange(len(orders)), lines))
    quantities = np.arange(1, len(truth.QUANTITY_SHARES) + 1)
    quantity = rng.choice(quantities, size=len(bought), p=truth.QUANTITY_SHARES)
    return _priced(demand, bought, list_price, quantity, rng)


def _browsing(demand: Demand, list_price: IntArray, kind: tuple[int, float], rng: np.random.Generator) -> Events:
    """Poisson views or carts, `kind` = (event type, events per order), of no order."""
    code, per_order = kind
    visits = _visits(demand, demand.orders * per_order, code, rng)
    quantity = np.full(len(visits), 1 if code == CART else NOTHING)
    return _priced(demand, visits, list_price, quantity, rng)


def _visits(demand: Demand, expected: FloatArray, kind: int, rng: np.random.Generator) -> Events:
    """Draw Poisson counts by region and day, and a moment and a user for each, in order of time."""
    shop = demand.shop
    counts = rng.poisson(expected[:, : shop.span])
    cells = np.repeat(np.arange(counts.size), counts.ravel())
    region, day = np.divmod(cells, shop.span)
    second = _seconds(len(day), rng)
    by_time = np.argsort(day * DAY_SECONDS + second, kind="stable")
    region, day, second = region[by_time], day[by_time], second[by_time]
    blank = np.full(len(day), NOTHING)
    return Events(
        day=day,
        second=second,
        kind=np.full(len(day), kind),
        region=region,
        user=_users(shop, region, rng),
        order=np.arange(len(day)) if kind == ORDER else blank,
        item=blank,
        quantity=blank,
        cents=blank,
    )


def _priced(
    demand: Demand,
    events: Events,
    list_price: IntArray,
    quantity: IntArray,
    rng: np.random.Generator,
) -> Events:
    """Choose an item (popularity falls with rank) at its price of that region and day."""
    popularity = 1.0 / (np.arange(len(list_price)) + 10.0)
    item = rng.choice(len(list_price), size=len(events), p=popularity / popularity.sum())
    share = demand.discount[events.region, events.day]
    cents = np.rint(list_price[item] * (1.0 - share)).astype(np.int64)
    return Events(
        events.day, events.second, events.kind, events.region, events.user, events.order,
        item, quantity, cents,
    )  # fmt: skip


def _returns(demand: Demand, bought: Events, rng: np.random.Generator) -> Events:
    """Send back whole orders RETURN_LAGS later, or on the next open day; none after the end."""
    orders = int(bought.order.max(initial=NOTHING)) + 1
    returned = rng.random(orders) < truth.RETURN_SHARE
    lag = rng.integers(truth.RETURN_LAGS.start, truth.RETURN_LAGS.stop, size=orders)
    moment = _seconds(orders, rng)
    back = bought.take(np.flatnonzero(returned[bought.order]))
    due = back.day + lag[back.order]
    landing = truth.next_open_day(demand)
    beyond = landing.shape[1]
    day = np.where(due < beyond, landing[back.region, np.minimum(due, beyond - 1)], beyond)
    kept = np.flatnonzero(day < demand.shop.span)
    back = back.take(kept)
    return Events(
        day[kept], moment[back.order], np.full(len(kept), RETURN), back.region, back.user,
        back.order, back.item, back.quantity, back.cents,
    )  # fmt: skip


def _seconds(size: int, rng: np.random.Generator) -> IntArray:
    """Seconds after local midnight, by the traffic of the hours, [size]."""
    shares = np.array(HOUR_WEIGHTS) / sum(HOUR_WEIGHTS)
    hour = rng.choice(24, size=size, p=shares)
    seconds: IntArray = hour * 3600 + rng.integers(0, 3600, size=size)
    return seconds


def _users(shop: Shop, region: IntArray, rng: np.random.Generator) -> IntArray:
    """Users live in one region each, in proportion to its size; a few come often, [event]."""
    sizes = np.array([city.size for city in shop.cities])
    bounds = np.floor(np.append(0.0, np.cumsum(sizes)) / sizes.sum() * shop.users).astype(np.int64)
    first, residents = bounds[:-1][region], np.diff(bounds)[region]
    user: IntArray = first + np.floor(residents * rng.random(len(region)) ** 2).astype(np.int64)
    return user
