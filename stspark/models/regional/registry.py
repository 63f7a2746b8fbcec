"""Regional models by name: the one place that knows which there are."""

from __future__ import annotations

from collections.abc import Mapping

from stspark.models.base import Forecaster
from stspark.models.registry import Registry
from stspark.names import GLOBAL_MODELS

_HERE = "stspark.models.regional"
_MODELS = {
    "seasonal_naive": f"{_HERE}.seasonal_naive:SeasonalNaive",
    "auto_ets": f"{_HERE}.auto_ets:AutoEts",
    "auto_arima": f"{_HERE}.auto_arima:AutoArima",
    "sarima": f"{_HERE}.sarima:Sarima",
    "sarimax": f"{_HERE}.sarimax:Sarimax",
    "theta": f"{_HERE}.theta:Theta",
    "window_average": f"{_HERE}.window_average:WindowAverage",
    "drift": f"{_HERE}.drift:Drift",
    "auto_ces": f"{_HERE}.auto_ces:AutoCes",
    "mfles": f"{_HERE}.mfles:Mfles",
    "mstl": f"{_HERE}.mstl:Mstl",
    "tbats": f"{_HERE}.tbats:Tbats",
    "croston": f"{_HERE}.croston:Croston",
    "tsb": f"{_HERE}.tsb:Tsb",
    "imapa": f"{_HERE}.imapa:Imapa",
    "linear": f"{_HERE}.linear:Linear",
    "recurrent": f"{_HERE}.recurrent:Recurrent",
    "prophet": f"{_HERE}.prophet:ProphetModel",
}
_MEMBERS = ("name", "min_length", "carries_forward", "fit", "predict")
_REGISTRY = Registry(_MODELS, _MEMBERS, "stspark.models.base.Forecaster", others=GLOBAL_MODELS)


def known() -> tuple[str, ...]:
    """Names that `build` takes, besides dotted paths."""
    return tuple(_MODELS)


def build(name: str, options: Mapping[str, object]) -> Forecaster:
    """Return the regional model `name` with `options`; ConfigError as `Registry.build` says."""
    model: Forecaster = _REGISTRY.build(name, options)
    return model
