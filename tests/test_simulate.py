"""The simulated shop: its files are repeatable, and what was planted can be found again."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import holidays
import numpy as np
import pandas as pd
import pytest

from stspark.errors import ConfigError, InputError
from stspark.simulate import Shop, simulate
from stspark.simulate.catalogue import draw_catalogue
from stspark.simulate.demand import (
    COMPONENTS,
    WEEKDAY_LOG,
    Demand,
    expected_returns,
    nearest_neighbours,
    plan,
    weights,
)
from stspark.simulate.events import ORDER, RETURN, Events, draw_events
from stspark.simulate.occasions import CHINESE_NEW_YEAR, EVENT_LOG_LIFT, event_dates
from stspark.simulate.shop import CITIES, PERSISTENCE

SHOPPING_EVENTS = Path(__file__).parents[1] / "conf" / "shopping_events.csv"
TINY = Shop(regions=4, start=date(2024, 1, 20), end=date(2024, 5, 18), users=500)  # 120 days
SEED = 11
# Compound Poisson: E[u^2] / E[u] of the units u of an order, (1.15 * 0.67 + 1.45 * 2.31) / 1.748.
VARIANCE_PER_UNIT = 2.36


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a shop of 4 regions and 120 days, Spring Festival among them."""
    directory = tmp_path_factory.mktemp("tiny") / "simulated"
    simulate(directory, SEED, TINY)
    return directory


@pytest.fixture(scope="module")
def demand() -> Demand:
    """The truth of the default shop."""
    return plan(Shop(), SEED)


@pytest.fixture(scope="module")
def events(demand: Demand) -> Events:
    """The default shop's events, not written to files."""
    return draw_events(demand, draw_catalogue(demand.shop.items, SEED).cents, SEED)


@pytest.fixture(scope="module")
def units(demand: Demand, events: Events) -> np.ndarray:
    """Net units counted from the default shop's events, [region, day]."""
    return net_units(demand.shop, events)


def net_units(shop: Shop, events: Events) -> np.ndarray:
    """Orders less returns, [region, day]."""
    counted = np.zeros((shop.regions, shop.span))
    for kind, sign in ((ORDER, 1), (RETURN, -1)):
        rows = events.take(np.flatnonzero(events.kind == kind))
        np.add.at(counted, (rows.region, rows.day), sign * rows.quantity)
    return counted


def tree(directory: Path) -> dict[str, bytes]:
    """Relative path -> content of every file."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


# Files -------------------------------------------------------------------------------------------


def test_same_seed_gives_same_bytes(tiny: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "again", SEED, TINY)
    assert tree(tmp_path / "again") == tree(tiny)


def test_second_call_touches_nothing(tmp_path: Path) -> None:
    simulate(tmp_path / "shop", SEED, TINY)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "shop").rglob("*")}
    simulate(tmp_path / "shop", SEED, TINY)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "shop").rglob("*")} == before


def test_another_seed_replaces_the_directory_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    simulate(tmp_path / "shop", SEED, TINY)
    before = tree(tmp_path / "shop")
    simulate(tmp_path / "shop", SEED + 1, TINY)
    after = tree(tmp_path / "shop")
    assert after.keys() == before.keys()
    assert after["events/2024-03-01.csv.gz"] != before["events/2024-03-01.csv.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no simulation wrote"):
        simulate(tmp_path, SEED, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        pytest.param({"regions": 3}, "regions", id="too few regions for the plot"),
        pytest.param({"regions": 25}, "regions", id="more regions than cities"),
        pytest.param({"end": date(2023, 10, 1)}, "end", id="a month"),
        pytest.param({"end": date(2031, 1, 1)}, "end", id="beyond the known calendar"),
        pytest.param({"spillover": 0.55}, "spillover", id="spectral radius of 1"),
        pytest.param({"orders_per_day": 0.0}, "orders_per_day", id="no orders"),
    ],
)
def test_impossible_shops_are_refused(options: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError, match=rf"simulate\.{field}"):
        Shop(**options)  # type: ignore[arg-type]


def test_one_file_for_each_utc_day_from_the_eve_of_the_start(tiny: Path) -> None:
    names = sorted(path.name for path in (tiny / "events").iterdir())
    days = [TINY.start + timedelta(offset) for offset in range(-1, TINY.span)]
    assert names == [f"{day}.csv.gz" for day in days]


# An independent reading of the files ---------------------------------------------------------------


def raw_rows(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """(file, fields) of every row of every file, in order, as a plain reader sees them."""
    for path in sorted((directory / "events").iterdir()):
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            assert next(reader)[0] == "event_id"
            for fields in reader:
                yield path.name, fields


def local_time(text: str) -> datetime:
    """Shanghai wall-clock time of a UTC time."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ") + timedelta(hours=8)


def number(text: str) -> float | None:
    """The number in a field, None if it is no number; an empty field counts as 1."""
    try:
        return float(text or 1)
    except ValueError:
        return None


def reason(fields: list[str], regions: set[str], last: date) -> str:
    """Reason code that ingest must give, "kept" for a good row."""
    if len(fields) != 10:
        return "malformed_row"
    _, time, kind, region, *_, quantity, price = (field.strip() for field in fields)
    if not (time and kind and region):
        return "missing_value"
    try:
        when = local_time(time)
    except ValueError:
        return "bad_time"
    amounts = number(quantity), number(price)
    checks = {
        "bad_number": None in amounts,
        "unknown_region": region not in regions,
        "price_range": not 0 <= (amounts[1] or 0) <= 10_000,
        "quantity_range": not 1 <= (amounts[0] or 0) <= 1000,
        "event_type_known": kind.lower() not in {"view", "cart", "order", "return"},
        "out_of_time": not date(2000, 1, 1) < when.date() <= last + timedelta(1),
    }
    return next((name for name, failed in checks.items() if failed), "kept")


@pytest.fixture(scope="module")
def sorted_out(tiny: Path) -> tuple[list[list[str]], Counter[tuple[str, str]]]:
    """Good rows of the tiny shop, trimmed, and the number of other rows by (file, reason)."""
    regions = set(pd.read_csv(tiny / "regions.csv")["region"])
    good: list[list[str]] = []
    bad: Counter[tuple[str, str]] = Counter()
    seen: set[tuple[str, ...]] = set()
    for file, fields in raw_rows(tiny):
        why = reason(fields, regions, TINY.end)
        if why == "kept" and tuple(fields) in seen:
            why = "duplicate"
        if why == "kept":
            seen.add(tuple(fields))
            good.append([field.strip() for field in fields])
        else:
            bad[file, why] += 1
    return good, bad


def test_every_dirty_row_is_recorded_with_its_file_and_reason(
    tiny: Path, sorted_out: tuple[list[list[str]], Counter[tuple[str, str]]]
) -> None:
    planted = pd.read_csv(tiny / "truth" / "dirty.csv")
    planted = planted[planted["expected_reason"] != "kept"]
    counts = planted.groupby(["file", "expected_reason"])["count"].sum().to_dict()
    assert counts == dict(sorted_out[1])
    assert planted["kind"].nunique() == 18
    assert planted["expected_reason"].nunique() == 10


def test_rows_add_up(tiny: Path, sorted_out: tuple[list[list[str]], Counter[tuple[str, str]]]) -> None:
    rows = json.loads((tiny / "COMPLETE.json").read_text())["rows"]
    good, bad = sorted_out
    assert (len(good), bad.total()) == (rows["clean"], rows["dirty"])
    assert len({fields[0] for fields in good}) == len(good)  # event ids are unique
    assert 0.003 < rows["dirty"] / rows["total"] < 0.007


def test_oddities_to_be_kept_are_there(tiny: Path) -> None:
    planted = pd.read_csv(tiny / "truth" / "dirty.csv").set_index("kind")
    contents = {path.name: gzip.decompress(path.read_bytes()) for path in (tiny / "events").iterdir()}
    bom = [name for name, data in contents.items() if data.startswith(b"\xef\xbb\xbf")]
    crlf = [name for name, data in contents.items() if b"\r\n" in data]
    assert bom == [planted.loc["bom_file", "file"]]
    assert crlf == [planted.loc["crlf_file", "file"]]
    rows = [fields for _, fields in raw_rows(tiny) if len(fields) == 10]
    padded = sum(fields[3] != fields[3].strip() for fields in rows)
    upper = sum(fields[2] != fields[2].lower() for fields in rows)
    kept = planted.groupby(level=0)["count"].sum()
    assert (padded, upper) == (kept["padded_region"], kept["upper_event_type"])
    assert any(fields[6] == 'lamp 12" brass, dimmable' for fields in rows)


def test_good_rows_lie_in_the_file_of_their_utc_day_and_inside_the_span(tiny: Path) -> None:
    for file, fields in raw_rows(tiny):
        if fields[0].startswith("e0") and len(fields) == 10:
            assert TINY.start <= local_time(fields[1]).date() <= TINY.end
            day = date.fromisoformat(file[:10])
            late = day - date.fromisoformat(fields[1][:10])
            assert late in (timedelta(0), timedelta(1))  # 1: a duplicate in the next day's file


def test_files_agree_with_their_truth(tiny: Path, sorted_out: tuple[list[list[str]], Counter[tuple[str, str]]]) -> None:
    counted: defaultdict[tuple[str, str], int] = defaultdict(int)
    for fields in sorted_out[0]:
        sign = {"order": 1, "return": -1}.get(fields[2].lower(), 0)
        if sign:
            counted[fields[3], str(local_time(fields[1]).date())] += sign * int(fields[8])
    truth = pd.read_csv(tiny / "truth" / "region_day.csv", dtype={"date": str})
    keys = list(truth[["region", "date"]].itertuples(index=False, name=None))
    assert set(counted) <= set(keys)
    units = np.array([counted[key] for key in keys])
    assert units.sum() == pytest.approx(truth["expected_units"].sum(), rel=0.03)
    spread = np.sqrt(VARIANCE_PER_UNIT * truth["expected_units"].clip(lower=1))
    error = (units - truth["expected_units"]) / spread
    assert error[truth["closed"] == 0].std() == pytest.approx(1.0, abs=0.15)


def test_truth_is_the_product_of_its_components(tiny: Path) -> None:
    truth = pd.read_csv(tiny / "truth" / "region_day.csv")
    product = truth[[*COMPONENTS]].prod(axis=1) * (1 - truth["closed"])
    np.testing.assert_allclose(truth["expected_gross_units"], product, rtol=1e-6)
    net = truth["expected_gross_units"] - truth["expected_return_units"]
    np.testing.assert_allclose(truth["expected_units"], net, atol=1e-5)


def test_nothing_happens_on_closed_days_or_before_the_late_opening(
    tiny: Path, sorted_out: tuple[list[list[str]], Counter[tuple[str, str]]]
) -> None:
    active = {(fields[3], str(local_time(fields[1]).date())) for fields in sorted_out[0]}
    closures = pd.read_csv(tiny / "closures.csv", dtype=str)
    assert not active & set(closures.itertuples(index=False, name=None))
    late = json.loads((tiny / "truth" / "parameters.json").read_text())["late"]
    assert min(day for region, day in active if region == late["region"]) == late["opening_date"]


def test_known_future_reaches_the_horizon_and_no_further(tiny: Path) -> None:
    horizon = TINY.end + timedelta(TINY.horizon_days)
    for name in ("promotions.csv", "closures.csv"):
        last = pd.read_csv(tiny / name)["date"].max()
        assert TINY.end < date.fromisoformat(last) <= horizon
    assert pd.read_csv(tiny / "promotions.csv")["promotion"].between(0.1, 0.3).all()


# Effects, found again in the default shop's events -------------------------------------------------


def test_counts_follow_the_truth_in_every_region(demand: Demand, units: np.ndarray) -> None:
    expected = (demand.gross_units - expected_returns(demand))[:, : demand.shop.span]
    error = (units - expected).sum(axis=1) / np.sqrt(VARIANCE_PER_UNIT * expected.sum(axis=1))
    assert np.abs(error).max() < 4
    assert units.sum() == pytest.approx(expected.sum(), rel=0.005)


def test_week_is_recovered_from_counts(demand: Demand, units: np.ndarray) -> None:
    """Median by weekday of log total over its centred moving week."""
    total = pd.Series(np.log(units.sum(axis=0).clip(min=1)))
    ratio = total - total.rolling(7, center=True).mean()
    week = ratio.groupby((demand.shop.start.weekday() + ratio.index) % 7).median()
    np.testing.assert_allclose(week, WEEKDAY_LOG, atol=0.03)


@pytest.mark.parametrize(
    ("rho", "low", "high"),
    [
        pytest.param(0.35, 0.08, 0.5, id="planted"),
        pytest.param(0.0, -0.05, 0.05, id="not planted"),
    ],
)
def test_spillover_is_found_where_it_was_planted(rho: float, low: float, high: float) -> None:
    """Least squares of a region's residual on its own and its neighbours' of yesterday.

    Poisson noise in the regressors pulls the coefficients towards 0, so the bounds are wide.
    """
    shop = Shop(spillover=rho)
    demand = plan(shop, SEED)
    events = draw_events(demand, draw_catalogue(shop.items, SEED).cents, SEED)
    rest = (demand.gross_units / demand.components["spillover"])[:, : shop.span]
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.log((net_units(shop, events).clip(min=0) + 0.5) / (rest + 0.5))
    around = weights(demand.neighbours) @ residual
    sells = demand.sells[:, : shop.span]
    use = sells[:, 1:] & sells[:, :-1]
    past = np.stack([residual[:, :-1][use], around[:, :-1][use], np.ones(use.sum())], axis=1)
    own, neighbours, _ = np.linalg.lstsq(past, residual[:, 1:][use], rcond=None)[0]
    assert low < neighbours < high
    assert 0.05 < own < PERSISTENCE


@pytest.mark.parametrize(
    ("day", "lift"),
    [
        pytest.param(date(2024, 6, 18), 0.80, id="618"),
        pytest.param(date(2023, 11, 11), 1.10, id="Double-11 of 2023"),
        pytest.param(date(2024, 11, 11), 1.10, id="Double-11 of 2024"),
    ],
)
def test_shopping_events_lift_sales(demand: Demand, units: np.ndarray, day: date, lift: float) -> None:
    """Against the same weekday two and three weeks before and after, outside the events' windows."""
    index = (day - demand.shop.start).days
    total = units.sum(axis=0)
    usual = np.mean([total[index + 7 * week] for week in (-3, -2, 2, 3)])
    assert np.log(total[index] / usual) == pytest.approx(lift, abs=0.25)


def test_drop_is_found_in_its_macro_region_alone(demand: Demand, units: np.ndarray) -> None:
    hit = np.array([city.parent == demand.plot.drop_parent for city in demand.shop.cities])
    start = demand.plot.drop_day
    before, after = units[:, start - 56 : start], units[:, start : start + 56]
    change = {side: after[hit == side].sum() / before[hit == side].sum() for side in (True, False)}
    assert change[True] / change[False] == pytest.approx(0.65, abs=0.08)


def test_returns_follow_orders_of_theirs(events: Events) -> None:
    bought = events.take(np.flatnonzero(events.kind == ORDER))
    back = events.take(np.flatnonzero(events.kind == RETURN))
    assert back.quantity.sum() / bought.quantity.sum() == pytest.approx(0.03, abs=0.003)
    first_day = np.full(bought.order.max() + 1, -1)
    first_day[bought.order] = bought.day
    waited = back.day - first_day[back.order]
    assert (first_day[back.order] >= 0).all()
    assert waited.min() == 3
    assert np.percentile(waited, 99) <= 14  # a few wait for a closed shop


def test_latent_demand_is_stationary_and_near_its_planted_spread(demand: Demand) -> None:
    step = PERSISTENCE * np.eye(24) + demand.shop.spillover * weights(demand.neighbours)
    assert np.abs(np.linalg.eigvals(step)).max() == pytest.approx(0.8)
    assert np.log(demand.components["spillover"]).std() == pytest.approx(0.12, abs=0.015)


def test_neighbours_are_the_nearest_cities() -> None:
    """Suzhou, Hangzhou and Nanjing lie within 300 km of Shanghai; no other city of ours does."""
    slugs = [city.region for city in CITIES]
    nearest = nearest_neighbours(Shop())[slugs.index("shanghai")]
    assert [slugs[index] for index in nearest][:3] == ["suzhou", "hangzhou", "nanjing"]
    np.testing.assert_allclose(weights(nearest_neighbours(Shop())).sum(axis=1), 1.0)


# Calendar ----------------------------------------------------------------------------------------


def test_spring_festival_is_the_first_of_the_chinese_year() -> None:
    years = range(2009, 2031)
    named = holidays.country_holidays("CN", years=years, language="en_US")
    first = {
        year: min(
            day
            for day, name in named.items()
            if day.year == year and name.startswith("Chinese New Year (Spring Festival)")
        )
        for year in years
    }
    assert {day.year: day for day in CHINESE_NEW_YEAR} == first


def test_shopping_events_file_agrees_with_the_simulator() -> None:
    listed = pd.read_csv(SHOPPING_EVENTS, dtype={"event": str}, keep_default_na=False)
    assert set(listed["event"]) == set(EVENT_LOG_LIFT)
    for event, rows in listed.groupby("event"):
        dates = [date.fromisoformat(day) for day in rows["date"]]
        assert dates == event_dates(str(event), range(2009, 2031))
        offsets = EVENT_LOG_LIFT[str(event)]
        assert (rows["days_before"] == max(0, -min(offsets))).all()
        assert (rows["days_after"] >= max(offsets)).all()
    everywhere = set(listed.loc[listed["countries"] == "", "event"])
    assert everywhere == {"Black Friday", "Cyber Monday"}


@pytest.mark.parametrize(
    ("event", "day"),
    [
        pytest.param("Black Friday", date(2018, 11, 23), id="November starts on a Thursday"),
        pytest.param("Black Friday", date(2024, 11, 29), id="latest possible"),
        pytest.param("Cyber Monday", date(2024, 12, 2), id="in December"),
        pytest.param("Spring Festival", date(2024, 2, 10), id="year of the dragon"),
    ],
)
def test_moving_events(event: str, day: date) -> None:
    assert event_dates(event, range(day.year, day.year + 1)) == [day]
