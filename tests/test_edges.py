"""Neighbours of every kind, regions made from coordinates, and festivals that follow the moon."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from stspark import calendar, cells, edges, lunar
from stspark.calendar import holiday_rows
from stspark.errors import InputError
from stspark.settings import Calendar, Regions, Settings, Weights
from stspark.space import haversine_km

KM = 111.195  # a degree on the equator


def placed(**lng: float) -> pd.DataFrame:
    return pd.DataFrame({"region": list(lng), "lat": 0.0, "lng": list(lng.values())})


def pairs(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(r.region, r.neighbour): round(r.weight, 6) for r in table.itertuples()}


def built(regions: pd.DataFrame, like=None, **weights) -> pd.DataFrame:
    return edges.build_edges(regions, Regions(neighbours=2, weights=Weights(**weights)), like)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["nearest", "band"])
def test_weights_of_a_region_sum_to_one(seed, kind):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"region": [f"r{k}" for k in range(20)], "lat": rng.normal(size=20), "lng": rng.normal(size=20)}
    )
    table.loc[3, ["lat", "lng"]] = np.nan
    made = built(table, kind=kind, **({"km": 100} if kind == "band" else {}))
    np.testing.assert_allclose(made.groupby("region")["weight"].sum(), 1.0)
    assert "r3" not in set(made["region"]) | set(made["neighbour"])
    if kind == "nearest":
        known = table.dropna(ignore_index=True)
        away = pd.DataFrame(
            haversine_km(known["lat"].to_numpy(), known["lng"].to_numpy()), known["region"], known["region"]
        )
        wanted = {(r, near): 0.5 for r in away for near in away[r].drop(r).nsmallest(2).index}
        assert pairs(made) == wanted


def test_a_band_weighs_by_distance_and_leaves_an_island():
    """b is 1 degree from a and 2 from c: 1 / (1 + 111.195) against 1 / (1 + 222.39)."""
    table = placed(a=0, b=1, c=3, far=50)
    made = pairs(built(table, kind="band", km=250))
    near, less = 1 / (1 + KM), 1 / (1 + 2 * KM)
    assert made[("b", "a")] == pytest.approx(near / (near + less), abs=1e-5)
    assert made[("a", "b")] == 1
    assert not [p for p in made if "far" in p]
    tied = pairs(built(table, kind="band", km=250, islands="nearest"))
    assert tied[("far", "c")] == 1
    assert ("c", "far") not in tied


def test_neighbours_neighbours_count_less():
    made = pairs(built(placed(a=0, b=1, c=2, d=3), kind="band", km=120, hops=2))
    assert made[("a", "b")] == pytest.approx(2 / 3, abs=1e-6)
    assert made[("a", "c")] == pytest.approx(1 / 3, abs=1e-6)
    assert ("a", "d") not in made


def test_graph_distance_counts_steps():
    w = np.zeros((4, 4))
    w[0, 1] = w[1, 2] = 0.5
    steps = edges.graph_distance(w)
    assert steps[0].tolist() == [0, 1, 2, np.inf]
    assert np.isinf(steps[2, 0])  # directed


# Polygons ------------------------------------------------------------------------------------------


def squares(path, places: dict[str, tuple[int, int]]) -> str:
    """Unit squares with a corner at these places."""
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {"type": "Polygon", "coordinates": [[[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1], [x, y]]]},
        }
        for name, (x, y) in places.items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(path)


def test_queen_is_that_of_libpysal(tmp_path):
    """A chess board of 4 x 4, one square missing: borders and corners count."""
    import geopandas
    from libpysal.weights import Queen

    places = {f"{x}{y}": (x, y) for x in range(4) for y in range(4) if (x, y) != (1, 2)}
    file = squares(tmp_path / "board.geojson", places)
    table = pd.DataFrame({"region": [*places, "lonely"], "lat": np.nan, "lng": np.nan})
    made = built(table, kind="queen", file=file, key="name")
    oracle = Queen.from_dataframe(geopandas.read_file(file), ids="name", use_index=False)
    assert set(pairs(made)) == {(a, b) for a, near in oracle.neighbors.items() for b in near}
    assert made["distance_km"].isna().all()


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("{", "name", "is no GeoJSON"),
        ('{"features": [{"properties": {}}]}', "name", "is no GeoJSON of polygons with the property 'name'"),
        (None, "nom", "property 'nom'"),
    ],
)
def test_polygons_that_cannot_be_used_are_named(tmp_path, text, key, said):
    file = tmp_path / "x.geojson"
    squares(file, {"a": (0, 0)}) if text is None else file.write_text(text)
    with pytest.raises(InputError, match=said):
        built(placed(a=0, b=1), kind="queen", file=str(file), key=key)


# Own edges, like histories -------------------------------------------------------------------------


def test_own_edges_are_taken_as_they_are_written(tmp_path, caplog):
    file = tmp_path / "edges.csv"
    file.write_text("region,neighbour,weight\na,b,3\na,c,1\nb,a,5\nb,elsewhere,5\n")
    assert pairs(built(placed(a=0, b=1, c=2), kind="file", file=str(file))) == {
        ("a", "b"): 0.75,
        ("a", "c"): 0.25,
        ("b", "a"): 1.0,
    }
    assert "1 of 4 edges are left out, for they name regions without demand, such as 'elsewhere'" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("region,neighbour\na,paris\nlyon,b\n", "no edge between two regions with demand; 'paris' is none"),
        ("region,weight\na,1\n", r"no column 'neighbour' \(its columns are region, weight\); name them"),
        ("region,neighbour,weight\na,b,x\n", "row 'a, b, x' is no edge; give it a weight of 0 or more"),
        ("region,neighbour\na,a\n", "row 'a, a' is no edge; leave it out: a region is not its own neighbour"),
    ],
)
def test_edges_that_are_none_are_named(tmp_path, text, said):
    file = tmp_path / "edges.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        built(placed(a=0, b=1), kind="file", file=str(file))


def test_like_histories_are_neighbours():
    like = pd.DataFrame(
        [("a", "b", 0.9), ("a", "c", 0.3), ("a", "d", 0.2), ("b", "a", -0.9)],
        columns=["region", "neighbour", "correlation"],
    )
    assert pairs(built(placed(a=0, b=1, c=2, d=3), like, kind="correlation")) == {("a", "b"): 0.75, ("a", "c"): 0.25}


def test_correlations_know_nothing_after_the_cutoff(spark):
    rng = np.random.default_rng(1)
    base = rng.normal(size=200)
    y = {"a": base, "b": base + 0.1 * rng.normal(size=200), "c": rng.normal(size=200)}
    days = [date.fromordinal(date(2024, 1, 1).toordinal() + k) for k in range(200)]

    def found(scramble: bool):
        rows = [
            (r, days[k], float(v[k] if k < 150 or not scramble else -50 * v[k] * k))
            for r, v in y.items()
            for k in range(200)
        ]
        frame = spark.createDataFrame(rows, "region string, date date, target double")
        return (
            edges.correlations(frame, 7, days[149]).toPandas().sort_values(["region", "neighbour"], ignore_index=True)
        )

    true = found(False)
    pd.testing.assert_frame_equal(true, found(True))
    r = true.set_index(["region", "neighbour"])["correlation"]
    assert r[("a", "b")] > 0.9 > 0.5 > abs(r[("a", "c")])
    change = {k: v[7:150] - v[:143] for k, v in y.items()}
    assert r[("a", "c")] == pytest.approx(np.corrcoef(change["a"], change["c"])[0, 1], abs=1e-6)


@pytest.mark.parametrize("options", [{"kind": "band"}, {"kind": "queen"}, {"kind": "file"}])
def test_weights_ask_for_what_they_need(options):
    with pytest.raises(ValidationError, match="needs the key '"):
        Weights(**options)


# Cells ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("km", [5.0, 50.0, 500.0])
def test_a_place_lies_in_its_square_and_squares_are_of_that_size(seed, km):
    rng = np.random.default_rng(seed)
    for lat, lng in zip(rng.uniform(-85, 85, 50), rng.uniform(-180, 180, 50), strict=True):
        cell = cells.square(lat, lng, km)
        middle = cells.centre(cell)
        assert cells.square(*middle, km) == cell
        assert abs(lat - middle[0]) * KM <= km / 2 + 1e-6
        east = (lng - middle[1] + 180) % 360 - 180
        assert abs(east) * KM * np.cos(np.radians(middle[0])) <= 0.85 * km


def test_hexagons_know_their_place_and_parent():
    cell = cells.hexagon(-23.55, -46.63, 5)
    table = cells.table(pd.Series([cell]))
    assert abs(table["lat"][0] + 23.55) < 0.2
    assert abs(table["lng"][0] + 46.63) < 0.2
    assert table["parent"][0] == cells.hexagon(-23.55, -46.63, 3)


@pytest.mark.parametrize(("lat", "lng"), [(91.0, 0.0), (0.0, 181.0), (float("nan"), 0.0)])
def test_what_is_no_place_has_no_cell(lat, lng):
    assert cells.hexagon(lat, lng, 3) is None
    assert cells.square(lat, lng, 10) is None


def config(**regions) -> dict:
    columns = {"event_time": "t", "lat": "the lat", "lng": "sql: a + 1"}
    return {
        "dataset": "x", "target": {"name": "y"}, "models": [{"name": "seasonal_naive"}], "regions": regions,
        "source": {"kind": "events", "path": "x", "columns": columns},
    }  # fmt: skip


def test_with_cells_the_region_is_made_from_lat_and_lng():
    made = Settings.model_validate(config(cells={"shape": "square", "km": 20}))
    assert made.source.columns == {"event_time": "t", "region": "sql:square_cell(`the lat`, a + 1, 20.0)"}
    raw = config(cells={"shape": "hexagon"})
    raw["source"]["columns"] = {"event_time": "t"}
    with pytest.raises(ValidationError, match="no 'lat'"):
        Settings.model_validate(raw)


def test_cells_in_sql_are_those_in_python_and_null_for_nonsense(spark):
    cells.register(spark)
    rows = spark.createDataFrame([("-23.55", "-46.63"), ("", "5"), ("x", "y"), (None, "1")], "lat string, lng string")
    made = rows.selectExpr("hexagon_cell(lat, lng, 3) as h", "square_cell(lat, lng, 100.0) as s").collect()
    wanted = [(cells.hexagon(-23.55, -46.63, 3), cells.square(-23.55, -46.63, 100.0)), *[(None, None)] * 3]
    assert [tuple(row) for row in made] == wanted


# Holidays and festivals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("festival", "day"),
    [("spring_festival", date(2024, 2, 10)), ("mid_autumn", date(2023, 9, 29)), ("dragon_boat", date(2025, 5, 31)),
     ("double_ninth", date(2024, 10, 11))],
)  # fmt: skip
def test_festivals_follow_the_moon(festival, day):
    """Days as published by the Hong Kong Observatory."""
    assert day in lunar.days(festival)


def test_a_festival_is_a_column_with_its_run_up():
    chosen = Calendar.model_validate({"lunar": [{"festival": "mid_autumn", "days_before": 2, "countries": ["CN"]}]})
    assert list(calendar.event_columns(chosen)) == ["event_mid_autumn"]
    rows = calendar.event_rows(chosen, date(2024, 9, 1), date(2024, 9, 30))
    assert {k[1].day: round(v["event_mid_autumn"], 3) for k, v in rows.items()} == {15: 0.333, 16: 0.667, 17: 1.0}
    assert {k[0] for k in rows} == {"CN"}


def test_a_state_has_its_own_holidays_beside_the_countrys():
    days = {place: {d for p, d, _ in holiday_rows([place], [2018]) if p == place} for place in ("BR", "BR-SP")}
    assert date(2018, 7, 9) in days["BR-SP"] - days["BR"]  # Constitutionalist Revolution
    assert days["BR"] <= days["BR-SP"]
    with pytest.raises(InputError, match="subdivision 'XX' of BR"):
        holiday_rows(["BR-XX"], [2018])
