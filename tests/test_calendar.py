"""What is known ahead of a day: holidays of its country, shopping events around it, closures, covariates."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

from stspark.calendar import event_columns, holiday_rows, shopping_events
from stspark.errors import ConfigError, InputError
from stspark.features.build import build_calendar, listed_closures
from stspark.features.covariates import read_covariate
from stspark.settings import Calendar, Covariate, Settings

FIRST, LAST = date(2024, 3, 1), date(2024, 4, 6)
EVENTS = """event,date,days_before,days_after,countries
Spring Fair,2024-03-10,2,3,GB
World Day,2024-03-12,1,0,
Dragon Sale,2024-03-12,0,1,CN TW
Spring Fair,2024-03-14,3,0,GB
"""
CLOSURES = "region,date\nleeds,2024-03-05\n,2024-03-06\nleeds,2024-03-05\nnowhere,2024-03-07\n"
PROMOTIONS = "region,date,promo\nleeds,2024-03-05,0.25\nleeds,2024-03-05,0.1\nwuhan,2024-04-20,0.5\nwuhan,2024-03-05,\n"


@pytest.fixture
def file(tmp_path):
    """Writes a file and returns its path."""

    def write(text: str, name: str = "events.csv") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(scope="module")
def calendar(spark, tmp_path_factory):
    """(region, date) -> row of the calendar of two countries and a place of neither, 37 days and two horizons."""
    folder = tmp_path_factory.mktemp("calendar")
    for name, text in {"events.csv": EVENTS, "closures.csv": CLOSURES, "promo.csv": PROMOTIONS}.items():
        (folder / name).write_text(text, encoding="utf-8")
    settings = Settings.model_validate({
        "dataset": "shop", "source": {"kind": "events", "path": "x", "columns": {"event_time": "t", "region": "r"}},
        "target": {"name": "sales"}, "models": [{"name": "seasonal_naive"}],
        "calendar": {"shopping_events": str(folder / "events.csv")},
        "closed": {"weekdays": ["sun"], "dates": [date(2024, 3, 8)], "file": str(folder / "closures.csv")},
        "covariates": [
            {"name": "promo", "known": "future", "file": str(folder / "promo.csv")},
            {"name": "filled", "known": "future", "column": "promo", "file": str(folder / "promo.csv"), "fill": 9},
        ],
    })  # fmt: skip
    places = [("leeds", "GB", None), ("wuhan", "CN", None), ("moon", None, None)]
    regions = pd.DataFrame(places, columns=["region", "country", "subdivision"])
    rows = build_calendar(spark, regions, None, (FIRST, LAST), settings).collect()
    return {(row["region"], str(row["date"])): row for row in rows}, rows


def test_every_region_has_every_day_up_to_two_horizons_after_the_data(calendar):
    by_day, rows = calendar
    assert len(rows) == len(by_day) == 3 * (37 + 14)
    assert {row["date"] for row in rows} == {FIRST + timedelta(days=k) for k in range(51)}


@pytest.mark.parametrize(
    ("region", "day", "name"),
    [
        pytest.param("leeds", "2024-03-29", "Good Friday", id="Good Friday in Britain"),
        pytest.param("wuhan", "2024-03-29", None, id="not in China"),
        pytest.param("wuhan", "2024-04-04", "Tomb-Sweeping Day", id="Qingming in China"),
        pytest.param("leeds", "2024-04-04", None, id="not in Britain"),
        pytest.param("moon", "2024-03-29", None, id="no country, no holiday"),
    ],
)
def test_a_public_holiday_belongs_to_its_country(calendar, region, day, name):
    row = calendar[0][region, day]
    assert row["holiday"] == (0.0 if name is None else 1.0)
    assert (row["holiday_name"] is None) == (name is None)
    if region == "leeds" and name:
        assert row["holiday_name"] == name


@pytest.mark.parametrize(
    ("region", "column", "values"),
    [
        # the fair of the 10th rises over 2 days to 1 (1/3, 2/3, 1); that of the 14th over 3 (1/4, 1/2, 3/4, 1)
        pytest.param(
            "leeds",
            "event_spring_fair",
            {8: 1 / 3, 9: 2 / 3, 10: 1.0, 11: 1 / 4, 12: 1 / 2, 13: 3 / 4, 14: 1.0},
            id="fair",
        ),
        # the fair of the 10th falls over the 3 days after it
        pytest.param("leeds", "event_spring_fair_after", {11: 3 / 4, 12: 1 / 2, 13: 1 / 4}, id="days after"),
        pytest.param("wuhan", "event_spring_fair", {}, id="other country"),
        pytest.param("wuhan", "event_dragon_sale", {12: 1.0}, id="one of two countries"),
        pytest.param("wuhan", "event_dragon_sale_after", {13: 1 / 2}, id="one of two countries, after"),
        pytest.param("leeds", "event_dragon_sale", {}, id="not of theirs"),
        *(pytest.param(r, "event_world_day", {11: 1 / 2, 12: 1.0}, id=f"everywhere: {r}") for r in ("leeds", "moon")),
    ],
)
def test_a_shopping_event_rises_before_its_day_and_falls_after_it(calendar, region, column, values):
    march = {day: calendar[0][region, f"2024-03-{day:02d}"][column] for day in range(1, 32)}
    assert {day: value for day, value in march.items() if value} == pytest.approx(values)
    assert None not in march.values()


@pytest.mark.parametrize(
    ("region", "closed"),
    [
        # Sundays, the configured 8th and the listed 6th are everybody's; the 5th is of leeds alone
        pytest.param("leeds", {3, 5, 6, 8, 10, 17, 24, 31}, id="a closure of its own"),
        pytest.param("wuhan", {3, 6, 8, 10, 17, 24, 31}, id="everybody's"),
    ],
)
def test_closures_come_by_weekday_date_and_list(calendar, region, closed):
    assert {day for day in range(1, 32) if calendar[0][region, f"2024-03-{day:02d}"]["is_closed"]} == closed


@pytest.mark.parametrize(
    ("region", "day", "promo", "filled"),
    [
        pytest.param("leeds", "2024-03-05", 0.25, 0.25, id="the larger of two values"),
        pytest.param("wuhan", "2024-04-20", 0.5, 0.5, id="a coming day"),
        pytest.param("wuhan", "2024-03-05", 0.0, 9.0, id="an empty value is none given"),
        pytest.param("leeds", "2024-03-06", 0.0, 9.0, id="no value takes the fill"),
    ],
)
def test_a_known_covariate_has_a_value_on_every_day(calendar, region, day, promo, filled):
    assert (calendar[0][region, day]["promo"], calendar[0][region, day]["filled"]) == (promo, filled)


def test_events_can_be_chosen(file):
    chosen = Calendar(shopping_events=file(EVENTS), events=("world_day", "dragon_sale"))
    assert list(event_columns(chosen)) == ["event_world_day", "event_dragon_sale", "event_dragon_sale_after"]


def test_events_of_an_unknown_name_are_refused_with_the_nearest(file):
    with pytest.raises(ConfigError, match=r"calendar.events: world_da: is not in .*; nearest is 'world_day'"):
        shopping_events(Calendar(shopping_events=file(EVENTS), events=("world_da",)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "has no column 'date'", id="empty file"),
        pytest.param("event,day\nFair,2024-03-10\n", "has no column 'date'", id="column"),
        pytest.param("event,date\nFair,10.3.2024\n", "line 2: Invalid isoformat string: '10.3.2024'", id="date"),
        pytest.param("event,date,days_before\nA,2024-01-01,1\nFair,2024-03-10,two\n", "line 3: .*'two'", id="number"),
        pytest.param("event,date\nFair\n", "line 2", id="short line"),
    ],
)
def test_a_mistake_in_the_events_file_is_named_with_its_line(file, text, says):
    with pytest.raises(InputError, match=says) as caught:
        shopping_events(Calendar(shopping_events=file(text)))
    assert "events.csv" in str(caught.value)


def test_events_in_another_script_keep_columns_of_their_own(file):
    text = "event,date\n双十一,2024-11-11\n春节,2024-02-10\n"
    columns = event_columns(Calendar(shopping_events=file(text)))
    assert len(columns) == 2


def test_countries_that_are_not_known_have_no_holidays_and_are_named(caplog):
    assert holiday_rows(["XX"], [2024]) == []
    assert "no public holidays are known for country 'XX'" in caplog.text
    assert ("GB", date(2024, 12, 25)) in {row[:2] for row in holiday_rows(["GB", "XX"], [2024])}


def closing(path: str | None) -> Settings:
    return Settings.model_validate({
        "dataset": "shop", "source": {"kind": "events", "path": "x", "columns": {"event_time": "t", "region": "r"}},
        "target": {"name": "sales"}, "models": [{"name": "seasonal_naive"}], "closed": {"file": path},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("region\nleeds\n", "has no column 'date'", id="column"),
        pytest.param("region,date\nleeds,soon\n", "date: 'soon' is no day; write YYYY-MM-DD", id="date"),
        pytest.param("region,date\nleeds,\n", "is no day", id="no date"),
        pytest.param("", "closures.csv", id="empty file"),
    ],
)
def test_a_mistake_in_the_closures_is_named(file, text, says):
    with pytest.raises(InputError, match=says) as caught:
        listed_closures(None, closing(file(text, "closures.csv")))
    assert "closures.csv" in str(caught.value)


@pytest.mark.parametrize("name", ["NA", "null", "None"])
def test_a_region_may_be_called_anything_in_the_closures(spark, file, name):
    rows = listed_closures(spark, closing(file(f"region,date\n{name},2024-03-05\n", "closures.csv"))).collect()
    assert [(row["region"], row["date"]) for row in rows] == [(name, date(2024, 3, 5))]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "promo.csv: is empty", id="empty file"),
        pytest.param(
            "region,date,prom\na,2024-03-05,1\n", "has no column 'promo'; the nearest column is 'prom'", id="column"
        ),
        pytest.param(
            "region,date,promo\na,2024-03-05,yes\n", "promo: row .*yes.* does not hold a date and a number", id="text"
        ),
        pytest.param("region,date,promo\na,5 March,1\n", "row .*5 March.* does not hold", id="date"),
        pytest.param("region,date,promo\na,2024-03-05,NaN\n", "row .*NaN.* does not hold", id="NaN is no number"),
    ],
)
def test_a_mistake_in_a_covariate_is_named(spark, file, text, says):
    covariate = Covariate(name="promo", known="future", file=file(text, "promo.csv"))
    with pytest.raises(InputError, match=says):
        read_covariate(spark.createDataFrame([("a",)], "region string"), covariate, closing(None))
