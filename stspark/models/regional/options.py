"""Checks of a model's options: what the config file says of one entry of `models`."""

from __future__ import annotations

from collections.abc import Collection

from stspark.errors import ConfigError, nearest


def whole(where: str, value: object, at_least: int) -> None:
    """Raise ConfigError unless `value` is a whole number of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigError(where, f"is {value!r}", f"give a whole number of {at_least} or more")


def whole_or_none(where: str, value: object, at_least: int) -> None:
    """The same, or None for the model's own choice."""
    if value is not None:
        whole(where, value, at_least)


def positive(where: str, value: object) -> None:
    """Raise ConfigError unless `value` is a number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigError(where, f"is {value!r}", "give a number above 0")


def flag(where: str, value: object) -> None:
    """Raise ConfigError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise ConfigError(where, f"is {value!r}", "give true or false")


def one_of(where: str, value: object, allowed: Collection[str]) -> None:
    """Raise ConfigError unless `value` is one of `allowed`; name the nearest."""
    if value not in allowed:
        like = nearest(str(value), allowed)
        fix = (f"did you mean '{like}'? " if like else "") + f"give one of {', '.join(allowed)}"
        raise ConfigError(where, f"is {value!r}", fix)


def triple(where: str, value: object) -> None:
    """Raise ConfigError unless `value` is three whole numbers of 0 or more, as in an ARIMA order."""
    if not isinstance(value, tuple) or len(value) != 3:
        raise ConfigError(where, f"is {value!r}", "give three whole numbers, e.g. [1, 0, 1]")
    for number in value:
        whole(where, number, at_least=0)
