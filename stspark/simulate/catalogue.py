"""The simulated shop's items: names, categories and list prices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stspark.simulate.shop import IntArray

# category -> (median price in CNY, what it sells)
CATEGORIES: dict[str, tuple[float, tuple[str, ...]]] = {
    "electronics": (600.0, ("phone", "headphones", "tablet", "charger")),
    "appliances": (400.0, ("kettle", "rice cooker", "fan", "vacuum")),
    "clothing": (120.0, ("shirt", "jacket", "jeans", "scarf")),
    "shoes": (180.0, ("sneakers", "boots", "sandals", "slippers")),
    "beauty": (90.0, ("cream", "serum", "lipstick", "shampoo")),
    "food": (40.0, ("tea", "noodles", "nuts", "rice")),
    "home": (75.0, ("lamp", "curtain", "pillow", "mug")),
    "toys": (60.0, ("puzzle", "kite", "blocks", "robot")),
}
AWKWARD_NAMES = {30: 'lamp 12" brass, dimmable', 101: "rice, long grain, 5 kg"}  # need CSV quotes
PRICE_SPREAD = 0.5  # standard deviation of the log price inside a category
CENTS_RANGE = (500, 500_000)  # 5 to 5,000 CNY


class Catalogue(NamedTuple):
    """Items by rank of popularity; `cents` is the list price, [item]."""

    names: list[str]
    categories: list[str]
    cents: IntArray


def draw_catalogue(items: int, seed: int) -> Catalogue:
    """Name and price the items; categories take turns, so all are popular alike."""
    rng = np.random.default_rng([seed, 0])
    categories = [list(CATEGORIES)[index % len(CATEGORIES)] for index in range(items)]
    names = [AWKWARD_NAMES.get(index) or _name(category, index) for index, category in enumerate(categories)]
    medians = np.array([CATEGORIES[category][0] for category in categories])
    yuan = medians * np.exp(rng.normal(0.0, PRICE_SPREAD, size=items))
    cents = np.clip(np.rint(100 * yuan), *CENTS_RANGE).astype(np.int64)
    return Catalogue(names, categories, cents)


def _name(category: str, index: int) -> str:
    nouns = CATEGORIES[category][1]
    return f"{nouns[index // len(CATEGORIES) % len(nouns)]} {index:03d}"
