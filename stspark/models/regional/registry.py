"""Regional models by name: the one place that knows which there are."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from stspark.errors import ConfigError, nearest
from stspark.models.base import Forecaster

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
"""A model's name in config and where its class is; imported only when it is asked for."""

_MEMBERS = ("name", "min_length", "carries_forward", "fit", "predict")


def known() -> tuple[str, ...]:
    """Names that `build` takes, besides dotted paths."""
    return tuple(_MODELS)


def build(name: str, options: Mapping[str, object]) -> Forecaster:
    """Return the model `name` with `options` (lists become tuples).

    name: one of `known()`, or "package.module:Class" for a class of the user's own that
    implements `Forecaster` and takes its options as keywords. Raises ConfigError for an
    unknown name or option, naming the nearest, and for a value that the model refuses.
    """
    where = f"models.{name}"
    if name not in _MODELS and ":" not in name:
        like = nearest(name, _MODELS)
        fix = f"did you mean '{like}'?" if like else f"give one of {', '.join(_MODELS)}"
        raise ConfigError("models", f"there is no model '{name}'", f"{fix} (your own: package.module:Class)")
    cls = _load(where, _MODELS.get(name, name))
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    _check_options(where, cls, given)
    try:
        model = cls(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(where, f"refuses its options: {error}", "correct them") from error
    lacking = [member for member in _MEMBERS if not hasattr(model, member)]
    if lacking:
        raise ConfigError(where, f"lacks {', '.join(lacking)}", "implement stspark.models.base.Forecaster")
    built: Forecaster = model
    return built


def _load(where: str, path: str) -> Any:
    """The class at "package.module:Class"; raise ConfigError when it cannot be imported."""
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(where, f"cannot import '{module_name}': {error}", "install it or mend the path") from error
    if not inspect.isclass(getattr(module, class_name, None)):
        like = nearest(class_name, [n for n, v in vars(module).items() if inspect.isclass(v)])
        fix = f"did you mean '{like}'?" if like else "name a class of that module"
        raise ConfigError(where, f"'{module_name}' has no class '{class_name}'", fix)
    return getattr(module, class_name)


def _check_options(where: str, cls: type, given: Mapping[str, object]) -> None:
    """Raise ConfigError for an option that the class does not take."""
    taken = inspect.signature(cls).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values()):
        return
    for option in given:
        if option not in taken:
            like = nearest(option, taken)
            choice = f"did you mean '{like}'?" if like else f"it takes {', '.join(taken) or 'no options'}"
            raise ConfigError(f"{where}.{option}", "is no option of this model", choice)
