"""Shape and level of a region with few days, out of its own days and the donors' weeks. Arrays in, arrays out.

Shrinkage of a mean towards a prior, which counts as so many days (the credibility of Bühlmann 1967, ASTIN Bulletin 4;
empirical Bayes). Shapes: W days of a donor, S days in a season, B borrowers, M donors, n own days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stspark.models.base import Floats
from stspark.snapshot import Bools, Integers

HALF_LIFE = 28.0
"""Days after which a day counts half."""
SMALLEST = 0.1
"""Least value of the borrowed index, whose usual one is 1: no day is divided by less."""
NARROWEST = 0.05
"""Least spread, relative to the donors' level."""
WIDTH_DAYS = 7.0
"""Own days at which their spread counts as much as the donors'."""
CAUTION = 2.0
"""Own days at which they say as much as the donors how large the level may become: some days of zero are no level."""


@dataclass(frozen=True)
class Lent:
    """What donors lend. index: [W, B] their days over their usual level, mixed; season: [S, B] its mean by place in
    the season, from the next day on; level: [B] their usual level, NaN without a donor; spread: [B] of days, relative
    to the level."""

    index: Floats
    season: Floats
    level: Floats
    spread: Floats


@dataclass(frozen=True)
class Trust:
    """How much is borrowed. level_days: own days at which they count as much as the donors' level;
    season_weeks: own seasons at which their shape counts as much as the donors'."""

    level_days: float
    season_weeks: float


@dataclass(frozen=True)
class Made:
    """mean: [H, B]; width: [B] the spread of a day; level: [B], of which `borrowed` [B] is the donors' share."""

    mean: Floats
    width: Floats
    level: Floats
    borrowed: Floats


def lend(days: Floats, observed: Bools, weights: Floats, season: int, *, flat: bool) -> Lent:
    """days, observed: [W, M] of donors, which have sold; weights: [B, M]; flat: lend the level only.

    A day counts by the donors that were observed on it, a place in the season by those that ever are there: one that
    shuts on Sundays says nothing about them.
    """
    seen = observed.astype(float)
    usual = np.maximum((days * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1.0), 1e-9)
    each, aged, place = days / usual, seen * _ages(len(days))[:, None], places(len(days), season)
    shape = by_place(each, aged, place, season)
    spread = np.sqrt((seen * (each - shape[place]) ** 2).sum(axis=0) / np.maximum(seen.sum(axis=0), 1.0))
    level = np.where(weights.any(axis=1), np.exp(np.log(usual) @ weights.T), np.nan)
    if flat:
        return Lent(np.ones((len(days), len(weights))), np.ones((season, len(weights))), level, spread @ weights.T)
    index = np.maximum(_mixed(each, seen, weights), SMALLEST)
    known = (_mixed(seen, np.ones_like(seen), weights) > 0).astype(float)
    return Lent(index, by_place(index, known * _ages(len(days))[:, None], place, season), level, spread @ weights.T)


def forecast(own: Floats, observed: Bools, lent: Lent, trust: Trust, horizon: int) -> Made:
    """own, observed: [n, B] last days of the borrowers, n may be 0."""
    n, season = len(own), len(lent.season)
    weight = _ages(n)[:, None] * observed
    index = lent.index[len(lent.index) - n :]
    sold, borrowed = (weight * own).sum(axis=0), (weight * index).sum(axis=0)
    level = (sold + trust.level_days * lent.level) / (borrowed + trust.level_days)
    place = places(n, season)
    off = own - level * lent.season[place]
    mean = level * lent.season + by_place(off, weight, place, season, trust.season_weeks)
    usual = lent.spread * (sold + CAUTION * lent.level) / (borrowed + CAUTION)
    variance = ((weight * off**2).sum(axis=0) + WIDTH_DAYS * usual**2) / (weight.sum(axis=0) + WIDTH_DAYS)
    width = np.maximum(np.sqrt(variance), NARROWEST * np.abs(lent.level))
    share = trust.level_days / (borrowed + trust.level_days)
    steps = np.arange(horizon) % season
    return Made(mean[steps], width, level, share)


def places(n: int, season: int) -> Integers:
    """[n] place in the season of the last n days, counted so that the day after them has place 0."""
    return (np.arange(n) - n) % season


def by_place(values: Floats, weight: Floats, place: Integers, season: int, zeros: float = 0.0) -> Floats:
    """[season, B] weighted mean of the values [n, B] by place, and of so many zeros.

    A place without weight takes the mean of all places, where no zeros stand for it.
    """
    found = np.zeros((season, values.shape[1]))
    total = np.zeros((season, values.shape[1]))
    for j in range(season):
        here = place == j
        total[j] = weight[here].sum(axis=0) + zeros
        found[j] = (weight * values)[here].sum(axis=0)
    everything = found.sum(axis=0) / np.maximum(total.sum(axis=0), 1e-9)
    return np.where(total > 0, found / np.where(total > 0, total, 1.0), everything)


def _mixed(values: Floats, seen: Floats, weights: Floats) -> Floats:
    """[W, B] mean of the donors' values [W, M], of those that were seen on a day; of all values where none was."""
    heard = seen @ weights.T
    return np.where(heard > 0, (values * seen) @ weights.T / np.where(heard > 0, heard, 1.0), values @ weights.T)


def _ages(n: int) -> Floats:
    return np.asarray(0.5 ** (np.arange(n)[::-1] / HALF_LIFE))
