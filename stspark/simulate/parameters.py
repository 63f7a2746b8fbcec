"""The planted numbers of one simulation, as the content of truth/parameters.json."""

from __future__ import annotations

from typing import Any

import numpy as np

from stspark.simulate import demand as truth
from stspark.simulate import occasions
from stspark.simulate.demand import Demand
from stspark.simulate.shop import PERSISTENCE


def parameters(demand: Demand, seed: int) -> dict[str, Any]:
    """Return every planted number; lifts are logarithms, to be added (see demand.py)."""
    return {
        "seed": seed,
        "shop": demand.shop.as_json(),
        "weekday_log": dict(zip(_WEEKDAYS, truth.WEEKDAY_LOG.tolist(), strict=True)),
        "year_log": [{"sine": sine, "cosine": cosine} for sine, cosine in truth.YEAR_HARMONICS],
        "holiday_log_lift": occasions.HOLIDAY_LOG_LIFT,
        "event_log_lift_by_offset": occasions.EVENT_LOG_LIFT,
        "promotion_elasticity": truth.PROMOTION_ELASTICITY,
        "units_per_order": round(truth.UNITS_PER_ORDER, 12),
        "return_share": truth.RETURN_SHARE,
        "return_lag_days": [truth.RETURN_LAGS.start, truth.RETURN_LAGS.stop - 1],
        "regions": _regions(demand),
        "spillover": _spillover(demand),
        **_plot(demand),
    }


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _regions(demand: Demand) -> dict[str, dict[str, float]]:
    level = demand.components["level"][:, 0]
    return {
        city.region: {"level_units": float(level[index]), "growth_per_year": float(slope)}
        for index, (city, slope) in enumerate(zip(demand.shop.cities, demand.slopes, strict=True))
    }


def _spillover(demand: Demand) -> dict[str, Any]:
    slugs = [city.region for city in demand.shop.cities]
    step = PERSISTENCE * np.eye(len(slugs)) + demand.shop.spillover * truth.weights(demand.neighbours)
    return {
        "rho": demand.shop.spillover,
        "persistence": PERSISTENCE,
        "lag_days": 1,
        "latent_std": truth.LATENT_STD,
        "shock_std": demand.shock_std,
        "spectral_radius": float(np.abs(np.linalg.eigvals(step)).max()),
        "neighbour_weight": 1.0 / demand.neighbours.shape[1],
        "neighbours": {
            slugs[region]: [slugs[index] for index in row] for region, row in enumerate(demand.neighbours.tolist())
        },
    }


def _plot(demand: Demand) -> dict[str, Any]:
    shop, plot = demand.shop, demand.plot
    return {
        "drop": {
            "parent": plot.drop_parent,
            "regions": [city.region for city in shop.cities if city.parent == plot.drop_parent],
            "date": shop.day(plot.drop_day).isoformat(),
            "factor": truth.DROP_FACTOR,
        },
        "late": {
            "region": shop.cities[plot.late_region].region,
            "opening_date": shop.day(plot.late_day).isoformat(),
        },
        "closures": {
            "spring_festival_days": occasions.SPRING_FESTIVAL_CLOSED_DAYS,
            "refit": {
                "region": shop.cities[plot.refit_region].region,
                "first_date": shop.day(plot.refit_days.start).isoformat(),
                "last_date": shop.day(plot.refit_days.stop - 1).isoformat(),
            },
            "mondays": {
                "region": shop.cities[plot.monday_region].region,
                "from": shop.day(plot.monday_day).isoformat(),
            },
        },
    }
