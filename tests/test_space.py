"""Regions as places: the Hilbert order, distances, neighbours, and mistakes in the regions' file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stspark.edges import build_edges
from stspark.errors import InputError
from stspark.settings import Regions
from stspark.space import haversine_km, hilbert_index, read_regions, spatial_order

LONDON, PARIS, NEW_YORK = (51.5074, -0.1278), (48.8566, 2.3522), (40.7128, -74.0060)
NAN = float("nan")


@pytest.fixture
def regions(tmp_path: Path):
    """Writes a file of regions and reads it with these settings."""

    def read(text: str | bytes, **settings: object) -> pd.DataFrame:
        path = tmp_path / "regions.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        table = read_regions(Regions(file=str(path), **settings))
        assert table is not None
        return table

    return read


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_the_hilbert_curve_visits_every_cell_once_and_steps_to_the_next_cell(bits):
    side = 2**bits
    cells = {hilbert_index(x, y, bits): (x, y) for x in range(side) for y in range(side)}
    assert sorted(cells) == list(range(side * side))
    path = np.array([cells[k] for k in range(side * side)])
    assert set(np.abs(np.diff(path, axis=0)).sum(axis=1)) == {1}


def test_the_smallest_hilbert_curve_is_a_cup():
    """Hilbert 1891, figure 1: the four quarters in the order of a U (here opening to the right side's bottom)."""
    assert [hilbert_index(x, y, 1) for x, y in [(0, 0), (0, 1), (1, 1), (1, 0)]] == [0, 1, 2, 3]


def test_places_without_coordinates_come_last_by_name():
    lat, lng = np.array([NAN, 10.0, NAN, 0.0]), np.array([NAN, 10.0, NAN, 0.0])
    assert spatial_order(lat, lng, ["z", "far", "a", "near"]).tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_a_permutation_that_row_order_does_not_change(seed):
    rng = np.random.default_rng(seed)
    lat, lng, names = rng.uniform(-90, 90, 30), rng.uniform(-180, 180, 30), [f"r{k:02d}" for k in range(30)]
    order = spatial_order(lat, lng, names)
    assert sorted(order) == list(range(30))
    shuffled = rng.permutation(30)
    np.testing.assert_array_equal(
        spatial_order(lat[shuffled], lng[shuffled], [names[k] for k in shuffled]), order[shuffled]
    )


@pytest.mark.parametrize(
    ("lat", "lng"),
    [
        pytest.param([5.0], [5.0], id="one place"),
        pytest.param([5.0, 5.0, 5.0], [5.0, 5.0, 5.0], id="all at one spot"),
        pytest.param([5.0, 5.0, 5.0], [1.0, 2.0, 3.0], id="on one line"),
        pytest.param([NAN, NAN], [NAN, NAN], id="none placed"),
    ],
)
def test_odd_maps_have_an_order_too(lat, lng):
    names = [f"r{k}" for k in range(len(lat))]
    assert sorted(spatial_order(np.array(lat), np.array(lng), names)) == list(range(len(lat)))


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        pytest.param(LONDON, PARIS, 343.56, id="London to Paris"),
        pytest.param(LONDON, NEW_YORK, 5570.2, id="London to New York"),
        # a quarter of the meridian of a sphere of 6371.0088 km: pi / 2 x 6371.0088
        pytest.param((0.0, 0.0), (90.0, 0.0), 10007.557, id="equator to pole"),
        # one degree across the date line: pi / 180 x 6371.0088
        pytest.param((0.0, 179.5), (0.0, -179.5), 111.195, id="across the date line"),
        pytest.param((0.0, 0.0), (0.0, 180.0), 20015.115, id="antipodes"),
        pytest.param(LONDON, LONDON, 0.0, id="to itself"),
    ],
)
def test_haversine(one, other, km):
    """Great-circle distances on the mean earth radius (IUGG 6371.0088 km)."""
    lat, lng = np.array([one, other]).T
    assert haversine_km(lat, lng)[0, 1] == pytest.approx(km, abs=0.05)
    np.testing.assert_allclose(haversine_km(lat, lng), haversine_km(lat, lng).T)


def placed(*names: str) -> pd.DataFrame:
    """Places on the equator, one degree apart."""
    return pd.DataFrame({"region": names, "lat": 0.0, "lng": np.arange(len(names), dtype=float)})


def test_each_region_has_its_nearest_neighbours_with_weights_that_sum_to_one():
    edges = build_edges(placed("a", "b", "c", "d"), Regions(neighbours=2))
    found = {region: sorted(rows["neighbour"]) for region, rows in edges.groupby("region")}
    assert found == {"a": ["b", "c"], "b": ["a", "c"], "c": ["b", "d"], "d": ["b", "c"]}
    assert (edges.groupby("region")["weight"].sum() == 1.0).all()
    assert edges.loc[(edges["region"] == "a") & (edges["neighbour"] == "c"), "distance_km"].iloc[0] == pytest.approx(
        222.39, abs=0.01
    )


@pytest.mark.parametrize(
    ("table", "neighbours", "count"),
    [
        pytest.param(placed("a", "b", "c"), 4, 6, id="fewer others than k: all of them"),
        pytest.param(placed("a"), 4, 0, id="alone"),
        pytest.param(pd.concat([placed("a", "b"), pd.DataFrame({"region": ["island"]})]), 1, 2, id="an unplaced one"),
        pytest.param(pd.DataFrame({"region": ["a", "b"], "lat": NAN, "lng": NAN}), 1, 0, id="none placed"),
    ],
)
def test_neighbours_of_few_regions(table, neighbours, count):
    edges = build_edges(table, Regions(neighbours=neighbours))
    assert len(edges) == count
    assert "island" not in set(edges["region"]) | set(edges["neighbour"])
    if count:
        np.testing.assert_allclose(edges.groupby("region")["weight"].sum(), 1.0)


def test_no_file_means_no_places():
    assert read_regions(Regions()) is None


def test_a_file_is_read_with_its_defaults(regions):
    table = regions(
        "\ufeffcity,lat,lng,zone\n north ,60,10,\nsouth,50,10,Europe/London\n",
        columns={"region": "city", "timezone": "zone"}, country="NO", unplaced=["moon", "south"],
    )  # fmt: skip
    rows = table.set_index("region")
    assert sorted(rows.index) == ["moon", "north", "south"]
    assert rows["timezone"].to_dict() == {"north": "UTC", "south": "Europe/London", "moon": "UTC"}
    assert set(rows["country"]) == {"NO"}
    assert rows["name"].to_dict() == {"north": "north", "south": "south", "moon": "moon"}
    assert np.isnan(rows.loc["moon", "lat"])
    assert rows.loc["moon", "position"] == 2
    assert table["position"].tolist() == [0, 1, 2]


def test_empty_cells_take_the_defaults_too(regions):
    table = regions("region,name,country,lat,lng,timezone\na,,,1,1,\nb,Bee,FR,2,2,Europe/Paris\n", country="GB")
    rows = table.set_index("region")
    assert rows["country"].to_dict() == {"a": "GB", "b": "FR"}
    assert rows["name"].to_dict() == {"a": "a", "b": "Bee"}
    assert rows["timezone"].to_dict() == {"a": "UTC", "b": "Europe/Paris"}


def test_many_points_of_a_region_become_their_median(regions):
    table = regions("region,lat,lng\na,0,0\na,1,1\na,80,80\nb,5,5\n")
    assert table.set_index("region").loc["a", ["lat", "lng"]].tolist() == [1.0, 1.0]


def test_one_zone_for_all_wins_over_the_file(regions):
    table = regions("region,lat,lng,timezone\na,0,0,Asia/Tokyo\n", timezone="Europe/London")
    assert table["timezone"].tolist() == ["Europe/London"]


def test_only_the_wanted_regions_are_kept(regions):
    assert regions("region,lat,lng\na,0,0\nb,1,1\n", only=["b"])["region"].tolist() == ["b"]


@pytest.mark.parametrize("name", ["O'Brien", "a/b=c%", "上海", "'; DROP TABLE events; --", "NA", "null", "1e5"])
def test_a_region_keeps_its_name_whatever_it_is(regions, name):
    assert regions(f'region,lat,lng\n"{name}",0,0\n')["region"].tolist() == [name]


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        pytest.param("region,lat\na,1\n", {}, ["has no column 'lng'"], id="a column is missing"),
        pytest.param("regions,lat,lng\na,1,1\n", {}, ["no column 'region'", "nearest is 'regions'"], id="misspelt"),
        pytest.param("region,lat,lng\na,north,1\n", {}, ["lat", "'north' of region 'a' is no lat"], id="text"),
        pytest.param("region,lat,lng\na,,1\n", {}, ["lat", "'' of region 'a'"], id="empty latitude"),
        pytest.param("region,lat,lng\na,91,1\n", {}, ["'91'", "use degrees within ±90"], id="beyond the pole"),
        pytest.param("region,lat,lng\na,1,200\n", {}, ["'200'", "use degrees within ±180"], id="beyond the date line"),
        pytest.param(
            "region,lat,lng,timezone\na,1,1,Mars/Base\n", {}, ["timezone 'Mars/Base'", "Europe/London"], id="zone"
        ),
        pytest.param("region,lat,lng\na,1,1\n", {"timezone": "BST"}, ["'BST'", "is not an IANA"], id="no IANA zone"),
        pytest.param("", {}, ["regions.csv"], id="empty file"),
        pytest.param("region,lat,lng\nMünchen,48,11\n".encode("latin-1"), {}, ["regions.csv"], id="not UTF-8"),
        pytest.param("region,lat,lng\na,51,0,5\nb,52,1,5\n", {}, ["regions.csv"], id="a field too many in every line"),
        pytest.param("region,lat,lng\na,51,0\nb,52,1,5\n", {}, ["regions.csv"], id="a field too many in one line"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(regions, text, settings, says):
    with pytest.raises(InputError) as caught:
        regions(text, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in says), message
